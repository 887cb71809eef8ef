/* version.h - the one place that knows the program's version. */
#ifndef LEANGATE_VERSION_H
#define LEANGATE_VERSION_H

#define LEANGATE_VERSION "0.1"

#endif
