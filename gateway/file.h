/* file.h - the handler of static files: found by name, judged by the request's conditions, sent by the
 * gateway itself. No Python is woken. */
#ifndef LEANGATE_FILE_H
#define LEANGATE_FILE_H

#include "request.h"

/* r->files and r->app_conf must be set before start. The answer is complete when start returns. */
extern const struct handler file_handler;

#endif
