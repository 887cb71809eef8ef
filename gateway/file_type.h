/* file_type.h - the media type of a file, by its name. Pure. */
#ifndef LEANGATE_FILE_TYPE_H
#define LEANGATE_FILE_TYPE_H

#include <stdbool.h>
#include <stddef.h>

/* The value of Content-Type for a file name (or a path): by what stands behind its last dot, in any case;
 * application/octet-stream when that is not known. Text types carry charset=utf-8. */
const char *file_type(const char *name, size_t len);

/* Whether it is what web pages are made of: markup, styles, scripts for browsers, pictures, fonts, sound,
 * films, pdf, txt, wasm. What may be somebody's source, backup, data or configuration is not. */
bool file_type_is_web(const char *name, size_t len);

#endif
