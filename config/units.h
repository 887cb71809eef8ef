/* units.h - times, sizes, numbers and switches as people write them; pure. */
#ifndef LEANGATE_UNITS_H
#define LEANGATE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNITS_TEXT 32 /* bytes that hold any value as text */

/* Each takes the whole text or nothing: false leaves *value alone. A unit is required for times and optional
 * for sizes. `off` is not known here: whether it is allowed is the key's affair. */
bool units_time(const char *text, int64_t *ms);    /* 250ms 10s 5m 2h */
bool units_size(const char *text, int64_t *bytes); /* 512 64k 10m 1g */
bool units_number(const char *text, int64_t *value);
bool units_octal(const char *text, int64_t *value);
bool units_bool(const char *text, bool *value); /* on true yes 1, off false no 0 */

/* What somebody who wrote `text` probably meant: "60x" 60s, "5min" 5m, "10MB" 10m; false: no guess. */
bool units_time_guess(const char *text, char guess[UNITS_TEXT]);
bool units_size_guess(const char *text, char guess[UNITS_TEXT]);

/* The shortest text that reads back as the same value: 90000 is 90s, 300000 is 5m, 65536 is 64k. */
void units_time_text(int64_t ms, char text[UNITS_TEXT]);
void units_size_text(int64_t bytes, char text[UNITS_TEXT]);
void units_octal_text(int64_t value, char text[UNITS_TEXT]);

#endif
