/* preset.h - one FastCGI request from a connection that we accepted. Nobody else calls libfcgi, which
 * reads nothing but what conn.c has judged. No call here needs the GIL. */
#ifndef PYWORKER_PRESET_H
#define PYWORKER_PRESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <fcgiapp.h>

#include "upload.h"

enum { PRESET_BUFFER = 8192 }; /* of libfcgi's reader; what it reads at once */

struct preset {
    FCGX_Request fcgi;
    int fd; /* the connection; -1: no request */
    uint16_t id;
    bool apart; /* libfcgi has got the head alone: the body is `upload`'s; else it has all of it */
    struct upload upload;
    unsigned char *piece; /* of an upload that waits: the one that is read last; malloc'd */
};

/* libfcgi's own set-up, once per process; the dispositions of signals are as before. False: it failed. */
bool preset_setup(void);

/* Begins a request that has arrived with all of its body, at most PRESET_BUFFER bytes. False: it cannot be,
 * and `fd` is closed. */
bool preset_begin(struct preset *p, int fd);

/* The same for any other. `head`: BEGIN to the empty PARAMS, `len` bytes, which were read from `fd`. `waits`:
 * whether reads of the body wait for the peer. */
bool preset_begin_apart(struct preset *p, int fd, const void *head, size_t len, bool waits);

/* The parameters, each "NAME=value", with a NULL behind; the value of one of them, or NULL; and the length of
 * a parameter's name, 0 if that was empty or is cut by a NUL byte. */
char **preset_parameters(const struct preset *p);
const char *preset_parameter(const struct preset *p, const char *name);
size_t preset_name_length(const char *parameter);

/* What can be had of the body without reading, and taking from it. From here on down: not if it is apart and
 * does not wait. */
size_t preset_available(const struct preset *p, const char **data);
void preset_consume(struct preset *p, size_t len);

/* Waits for more of the body; false at its end or after an error. */
bool preset_refill(struct preset *p);

/* Reads until `len` bytes are there or the body ends; returns how many. */
size_t preset_read(struct preset *p, char *out, size_t len);

/* Whether nothing more can come, so that preset_drain() will not wait. */
bool preset_at_end(const struct preset *p);

/* Whether the body ended for another reason than its end. */
bool preset_failed(const struct preset *p);

/* Reads the rest of the body away; false if that is too much, takes too long or fails: the connection cannot
 * be kept. */
bool preset_drain(struct preset *p);

/* The same without waiting, and for a body that is apart, too. */
bool preset_drain_now(struct preset *p);

/* Forgets the request. Returns whether the connection is kept; else it is closed. Writes nothing. */
bool preset_end(struct preset *p, bool keep);

#endif
