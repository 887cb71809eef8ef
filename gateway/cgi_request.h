/* cgi_request.h - what the CGI variables of a request are made of. */
#ifndef LEANGATE_CGI_REQUEST_H
#define LEANGATE_CGI_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http_head.h"
#include "slice.h"

/* All text that the variables are made of. Pointers stay the caller's. */
struct cgi_request {
    const struct http_head *head;
    const char *base; /* the buffer that `head` was parsed from */
    const char *path; /* decoded and normalised */
    size_t path_len;
    size_t script_len;       /* how many leading bytes of path are SCRIPT_NAME; the rest is PATH_INFO */
    const char *root_path;   /* put before SCRIPT_NAME; "" for none */
    struct slice prefix;     /* of `base`: in root_path's place, told by a proxy; len 0: none */
    unsigned forwarded;      /* forwarding headers that are passed on: bits of forwarded.h */
    const char *scheme;      /* "http" or "https" */
    const char *remote_addr; /* "" for a unix socket's peer */
    const char *remote_port; /* "" where there is none */
    const char *server_addr; /* listener's own name, for a request without authority */
    /* listener's own port, for one without authority; "80"/"443" come from the scheme */
    const char *server_port;
    const char *request_id_name; /* its HTTP_ variable is set to request_id and the client's own is dropped;
                                    or NULL */
    const char *request_id;
    const char *document_root; /* "" is "/"; NULL: left out, as the others here */
    const char *script_filename;
    const char *script_file; /* a script found below document_root, in place of script_filename, */
    const char *script_tail; /* and what goes behind it */
    /* the name of a file that answers for SCRIPT_NAME, a directory; it is put behind */
    const char *script_index;
    bool has_body;
    uint64_t body_len;
};

#endif
