/* slice.h - a piece of a buffer by offset and length: stays valid when the buffer grows and moves. */
#ifndef LEANGATE_SLICE_H
#define LEANGATE_SLICE_H

#include <stdint.h>

struct slice {
    uint32_t off; /* bytes from the start of the buffer it belongs to */
    uint32_t len; /* 0: absent or empty */
};

#endif
