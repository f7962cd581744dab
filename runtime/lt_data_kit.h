/* What the readers of lt_data_*.c share: the parsed call, errors, memory that lives as long as the column.
 *
 * A reader is a row of the table in lt_data.c. Its `arguments` are documentation and check at once: "FILE" (or
 * "FILE, NAME", or "FILE, ..." for one or more) and then options as key=KIND, those that may be missing in brackets:
 * N: a positive integer; X: a number; TEXT; COLUMN: a name or an integer; true|false, with the default first. */
#ifndef LT_DATA_KIT_H
#define LT_DATA_KIT_H
#include "lt_data.h"

enum { LT_MAX_ARGS = 64, LT_PATH = 4096 };

typedef struct lt_data_arg { const char *key, *text; int quoted; } lt_data_arg;     /* key NULL: by position, first */

typedef struct lt_data_reader {
  const char *name;
  lt_data_arg arg[LT_MAX_ARGS];
  int args, files;                   /* files: how many by position */
  const char *base_dir;
  const unsigned char *held;         /* [held_rows] rows that do not count; NULL: all do. While the column is opened */
  int64_t held_rows;
  char *why;                         /* while the column is opened */
  size_t why_len;
  void *blocks;                      /* what lt_data_keep gave, linked */
  const char *dense;                 /* [rows, dims…]; or NULL, and `rows` makes them */
  int (*rows)(lt_data *d, const int64_t *index, int64_t n, void *out, char *why, size_t why_len);
  void (*where)(const lt_data *d, int64_t row, char *text, size_t text_len);        /* NULL: file and number */
  void *own;                         /* the reader's */
} lt_data_reader;

int lt_data_fail(lt_data *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));       /* -1 */
/* Zeroed memory that is freed with the column. NULL: no memory, already said. */
void *lt_data_keep(lt_data *d, size_t bytes);
char *lt_data_keep_text(lt_data *d, const char *text, size_t n);
void lt_data_drop(lt_data *d, void *kept);                                          /* frees it before that */

int lt_data_counts(const lt_data *d, int64_t row);                                  /* for the vocabulary */
const char *lt_data_option(const lt_data *d, const char *key);                      /* NULL: not given */
int64_t lt_data_integer(const lt_data *d, const char *key, int64_t otherwise);
int lt_data_true(const lt_data *d, const char *key, int otherwise);
const char *lt_data_path(lt_data *d, int k, char path[LT_PATH]);                    /* file k, beside base_dir */
/* File k's bytes, unpacked, kept, with zeros behind them. */
char *lt_data_bytes(lt_data *d, int k, size_t *n);
void lt_data_shape(lt_data *d, const char *dtype, int rank, const int64_t *dims);   /* of a row; sets row_bytes */

/* ---- text: lt_data_lines.c ---- */

/* The code point at *p (before end), and *p behind it. Bytes that are not UTF-8 are Latin-1, as old corpora are. */
uint32_t lt_data_code_point(const char **p, const char *end);
int lt_data_utf8(uint32_t code_point, char out[4]);                                 /* bytes written */

/* One of the rows that words, characters and labels see. */
typedef struct lt_line {
  const char *text;
  const char *label;                 /* label="first": the first word, taken off the text; else NULL */
  int32_t length, label_length, file, number;      /* number: of the line in its file, from 1 */
} lt_line;

/* All rows; pieces of the files' bytes, all of it kept until lt_data_lines_drop, which leaves what `where` needs. */
lt_line *lt_data_lines(lt_data *d, int64_t *n);                                     /* NULL: error */
int lt_data_lines_drop(lt_data *d, lt_line *line);
/* Gives d the tokens: k of them, each text[i] with length[i] bytes, copied as UTF-8. */
int lt_data_tokens(lt_data *d, int64_t k, const char *const *text, const int32_t *length);

/* ---- opening: one function per reader ---- */
int lt_data_open_idx(lt_data *d);
int lt_data_open_npy(lt_data *d);
int lt_data_open_npz(lt_data *d);
int lt_data_open_csv(lt_data *d);
int lt_data_open_text(lt_data *d);
int lt_data_open_words(lt_data *d);
int lt_data_open_characters(lt_data *d);
int lt_data_open_labels(lt_data *d);
int lt_data_open_images(lt_data *d);
int lt_data_open_folders(lt_data *d);                          /* labels of a folder of images */
#endif
