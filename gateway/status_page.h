/* status_page.h - the status as one page for people, without script. */
#ifndef LEANGATE_STATUS_PAGE_H
#define LEANGATE_STATUS_PAGE_H

#include "status_view.h"

extern const struct status_format status_page;

#endif
