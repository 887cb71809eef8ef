/* script.h - what the path of a request names in an app whose scripts are found by path: kind files, and kind
 * fastcgi with $path. */
#ifndef LEANGATE_SCRIPT_H
#define LEANGATE_SCRIPT_H

#include "request.h"

enum script_verdict {
    SCRIPT_RUN,       /* a script: script_len, script_file and script_index of the request are set */
    SCRIPT_SEND,      /* a file to be sent: `files` and script_file are set */
    SCRIPT_DIRECTORY, /* a directory, and its slash is missing */
    SCRIPT_MISSING,   /* nothing that may be seen */
    SCRIPT_SHORTAGE   /* no memory or descriptors to find out */
};

/* Looks anew each time. Nothing outside the root is found, whatever links and encoding say; nor is what
 * begins with a dot, a file whose extension is neither to be run nor a web type's, or anything behind an
 * encoded slash. */
enum script_verdict script_find(struct request *r);

#endif
