/* http_date.h - dates of HTTP: the three forms that are read, and the one that is written (RFC 9110 5.6.7).
 * Pure. */
#ifndef LEANGATE_HTTP_DATE_H
#define LEANGATE_HTTP_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* Reads an IMF-fixdate, an RFC 850 or an asctime() date; the whole text or nothing. `now` tells which century
 * a year of two digits belongs to. False: it is none of them. */
bool http_date_parse(const char *text, size_t len, time_t now, time_t *when);

/* The time as IMF-fixdate: 29 bytes and a NUL. */
void http_date(time_t now, char out[30]);

#endif
