/* Interned strings: equal text, equal pointer. The table belongs to the process: names are shared
 * by every module, and a compiler run is short. */
#ifndef BASE_INTERN_H
#define BASE_INTERN_H
#include <stddef.h>
const char *intern(const char *s);
const char *intern_n(const char *s, size_t n);
const char *intern_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));   /* at most 500 characters */
#endif
