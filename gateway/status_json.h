/* status_json.h - the status as JSON, for programs. */
#ifndef LEANGATE_STATUS_JSON_H
#define LEANGATE_STATUS_JSON_H

#include "status_view.h"

extern const struct status_format status_json;

#endif
