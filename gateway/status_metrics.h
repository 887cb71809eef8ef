/* status_metrics.h - the status in Prometheus' text format 0.0.4. */
#ifndef LEANGATE_STATUS_METRICS_H
#define LEANGATE_STATUS_METRICS_H

#include "status_view.h"

extern const struct status_format status_metrics;

#endif
