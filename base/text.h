/* A growing text, for printers. Owned by the caller; text_free when done.
 * text_save writes through a temporary file and a rename: a failed write leaves nothing half-written. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H
#include <stdbool.h>
#include <stddef.h>

typedef struct Text { char *at; size_t len, cap; } Text;

void text_printf(Text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_put(Text *t, const char *s);
void text_bytes(Text *t, const void *p, size_t n);
/* in quotes, with \" \\ \n \t: as the network language reads it */
void text_quote(Text *t, const char *s);
void text_free(Text *t);
bool char_is_word(char c);                              /* a letter, a digit or _, as in C's names */
bool text_save(const Text *t, const char *path, char *why, size_t why_len);   /* false: why says what failed */
bool file_save(const void *p, size_t n, const char *path, char *why, size_t why_len);
/* A file that is never in memory as a whole: its pieces, one after the other. */
typedef struct Piece { const void *at; size_t size; } Piece;
bool pieces_save(const Piece *p, int n, const char *path, char *why, size_t why_len);
char *file_load(const char *path, size_t *n, char *why, size_t why_len);      /* malloc'ed, NUL behind; NULL: why */
#endif
