/* upstream_answer.h - what comes on a connection: its records become the answer of the request, or its end.
 */
#ifndef LEANGATE_UPSTREAM_ANSWER_H
#define LEANGATE_UPSTREAM_ANSWER_H

#include "upstream_state.h"

/* Feeds what was read to the decoder and acts on its facts. False once the request is settled; what a doomed
 * copy still says is not looked at. */
bool upstream_answer_take(struct upstream *up, const uint8_t *data, size_t len);

#endif
