/* field.h - what names and values of header fields, and of parameters that stand for them, may be. Pure. */
#ifndef PYWORKER_FIELD_H
#define PYWORKER_FIELD_H

#include <stdbool.h>
#include <stddef.h>

/* Whether it is a token (RFC 9110, section 5.6.2), as a field's name has to be. */
bool field_is_token(const char *p, size_t len);

/* Whether it has no control character but a tab: none can be smuggled into a header block. */
bool field_is_value(const char *p, size_t len);

/* Whether it is this name, which is given in lower case, in whatever case; of field_is() case counts. */
bool field_is_named(const char *p, size_t len, const char *lower);
bool field_is(const char *p, size_t len, const char *name);

/* A length in decimal digits; -1: it is none, or longer than any body (18 digits). */
long long field_length(const char *p, size_t len);

#endif
