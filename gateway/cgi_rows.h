/* cgi_rows.h - the CGI variables that every request has, or may have, whatever its header says: a variable is
 * a row. Pure. */
#ifndef LEANGATE_CGI_ROWS_H
#define LEANGATE_CGI_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "cgi_request.h"

/* The value of one variable, in up to three pieces. */
struct cgi_value {
    const char *text;
    size_t len;
    const char *tail; /* goes behind text */
    size_t tail_len;
    const char *end; /* and behind that */
    size_t end_len;
    char digits[20]; /* UINT64_MAX has 20 */
};

struct cgi_row {
    const char *name;
    size_t name_len;
    bool (*value)(const struct cgi_request *, struct cgi_value *); /* false leaves the variable out */
};

extern const struct cgi_row cgi_rows[];
extern const size_t cgi_row_count;

#endif
