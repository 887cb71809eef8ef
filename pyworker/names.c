/* names.c - a small hash table of parameter names. The keys of an environ are nearly the same in every
 * request; a str made once carries its hash. When clients have filled the table with names of their own,
 * further ones are made anew each time. */
#include "names.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LEN = 64 }; /* longer ones are not worth keeping */

static uint32_t hash(const char *text, size_t len)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)text[i]) * 16777619u;
    return h;
}

static void remember(struct names *names, struct name *slot, const char *text, size_t len, PyObject *string)
{
    char *copy = malloc(len);
    if (copy == NULL)
        return;
    memcpy(copy, text, len);
    Py_INCREF(string);
    *slot = (struct name){.text = copy, .len = len, .string = string};
    names->used++;
}

PyObject *names_get(struct names *names, const char *text, size_t len)
{
    uint32_t i = hash(text, len) % NAMES_SLOTS;

    while (names->slot[i].text != NULL) {
        const struct name *slot = &names->slot[i];
        if (slot->len == len && memcmp(slot->text, text, len) == 0) {
            Py_INCREF(slot->string);
            return slot->string;
        }
        i = (i + 1) % NAMES_SLOTS;
    }
    PyObject *string =
        names->make != NULL ? names->make(text, len) : PyUnicode_DecodeLatin1(text, (Py_ssize_t)len, NULL);
    if (string != NULL && len > 0 && len <= NAME_MAX_LEN && names->used < NAMES_SLOTS / 2)
        remember(names, &names->slot[i], text, len, string);
    return string;
}
