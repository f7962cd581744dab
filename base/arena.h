/* Arenas: the only memory the compiler uses. Nothing is freed one by one; an arena is reset or
 * dropped as a whole. `perm` lives as long as a module, `tmp` is reset by the pass runner.
 * Running out of memory ends the process in one place (arena.c), with a message and exit code 1.
 * Memory is zeroed on allocation; a reset poisons it in debug builds. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <stdarg.h>
#include <stddef.h>

typedef struct ArenaBlock ArenaBlock;
typedef struct Arena { ArenaBlock *head; size_t used; } Arena;

void *arena_alloc(Arena *a, size_t bytes);              /* zeroed, aligned to 64 */
void *arena_dup(Arena *a, const void *p, size_t bytes);
char *arena_strdup(Arena *a, const char *s);
char *arena_vprintf(Arena *a, const char *fmt, va_list ap);
char *arena_printf(Arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_free(Arena *a);
void *xrealloc(void *p, size_t bytes);                  /* for the few growable buffers outside arenas */

#define NEW(arena, T) ((T *)arena_alloc((arena), sizeof(T)))
#define NEW_N(arena, T, n) ((T *)arena_alloc((arena), sizeof(T) * (size_t)(n)))
#endif
