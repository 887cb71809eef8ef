/* http_parse.h - what a parser that is fed piece by piece says after each piece. */
#ifndef LEANGATE_HTTP_PARSE_H
#define LEANGATE_HTTP_PARSE_H

enum http_parse { HTTP_DONE, HTTP_MORE, HTTP_BAD };

#endif
