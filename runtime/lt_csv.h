/* Records of a csv file (RFC 4180): quotes, doubled quotes, separators and line ends within quotes; \n or \r\n. Any one
 * separator. The text is rewritten in place: fields are pieces of it, unquoted. C99, needs nothing but libc. */
#ifndef LT_CSV_H
#define LT_CSV_H
#include <stddef.h>
#include <stdint.h>

typedef struct lt_field { char *text; size_t length; } lt_field;       /* a zero follows the text */

typedef struct lt_csv {
  char *at, *end;
  char separator;
  int64_t line;                      /* where the record begins, from 1 */
  lt_field *field;
  int fields, room;
  int64_t next_line;
} lt_csv;

/* text[n] must be writable, and is written: it is where a zero goes. */
void lt_csv_start(lt_csv *c, char *text, size_t n, char separator);
/* 1: a record (blank lines are passed over); 0: the end; -1: why says what is wrong in which line. */
int lt_csv_next(lt_csv *c, char *why, size_t why_len);
void lt_csv_free(lt_csv *c);
#endif
