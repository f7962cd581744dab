/* Data for training, one row per example, read straight from the files people have. C99; needs libc, lt_file.c,
 * lt_zip.c and lt_image.c. Linked into trainers; lathe uses it to learn types when it compiles.
 *
 * A column is described by a call, READER(FILE, …, option=value, …), as it stands in the data block of a network:
 *
 *   idx("t10k-images.gz")                             MNIST's format. u8[28,28] (or what the file holds)
 *   npy("x.npy")    npz("d.npz", "x")                 NumPy. The first axis is the rows
 *   csv("t.csv", column="age")                        numbers: f32[]; column: a name, or a number from 1
 *   csv("t.csv", columns="a,b,c")                     f32[3]; neither: all columns. missing=0: for empty fields
 *   text("a.txt", …, length=65, stride=64)            windows of characters: i32[65]; without stride: length
 *   words("a.pos", "a.neg", length=40, vocab=20000)   lines as word indices: i32[40]
 *   characters("f.txt", "m.txt", length=12)           lines as character indices: i32[12]
 *   labels("a.pos", "a.neg")                          i32[]: which file a line is from
 *   labels("t.csv", column="species")                 i32[]: which of the column's texts
 *   images("folder", height=32, width=32, channels=3) u8[3,32,32]: every image below the folder, resized
 *   labels("folder")                                  i32[]: which sub-folder an image is in
 *
 * words, characters and labels see the same rows of the same files: lines that are not blank, or with column= (and
 * separator=) a column of a csv with its header, or with label="first" lines whose first word is the label. So does
 * images with labels of a folder. More options: csv and column=: header=true|false (default: true when the first line
 * has a field that is not a number), separator="," (default: tab for .tsv); words: vocab (most words, the two below
 * included; 0: all), min_count=1, lower=true; characters: lower=false; both: pad="right"|"left".
 *
 * Indices of words and characters: 0 is padding, 1 is unknown, then words by falling count (equal ones by their
 * bytes), characters by code point. Once it is known which rows are held out, only the others are counted: what stands
 * in held-out rows alone is unknown, and where all rows had more tokens some indices stay unused. The alphabet of
 * text and the classes of labels are those of all rows: the network's shape may not depend on the split. A line longer than `length` loses its end. text has neither padding nor unknown:
 * its indices are the data's characters by code point. Words are what blanks separate.
 *
 * A file is looked for beside `base_dir` unless its path is absolute. Files packed with gzip are unpacked whatever
 * their name; `archive.zip/member` names a member of a zip, whole or by the end of its path.
 *
 * Functions return 0, or -1 with a sentence in `why` that names the file, and row and column where there are any. */
#ifndef LT_DATA_H
#define LT_DATA_H
#include "lt_file.h"

typedef struct lt_data {
  char dtype[8];                     /* of an element, as in lathe: "u8", "i32", "f32" */
  int elem_bytes, rank;
  int64_t dims[LT_MAX_RANK];         /* of one row; rank 0: a number */
  int64_t rows;
  size_t row_bytes;
  int64_t classes;                   /* indices lie in [0, classes); 0: the elements are not indices */
  const char *const *token;          /* [classes], UTF-8: the words, characters or labels; NULL: there are none */
  int counted;                       /* words, characters: the tokens are those of the rows that count */
  int ordered;                       /* neighbouring rows overlap or follow each other (text): hold out the end */
  struct lt_data_reader *reader;     /* private */
} lt_data;

/* Reads as much as types, rows and tokens need; images are decoded when rows ask for them. On error *d is closed. */
int lt_data_open(const char *call, const char *base_dir, lt_data *d, char *why, size_t why_len);
/* The same, where the rows with held[row] do not count: the number of rows is known from lt_data_open. */
int lt_data_open_held(const char *call, const char *base_dir, const unsigned char *held, int64_t rows, lt_data *d,
                      char *why, size_t why_len);
/* Rows index[0 … n), densely, to out [n, dims…]. Not for two threads at once on one column. */
int lt_data_rows(lt_data *d, const int64_t *index, int64_t n, void *out, char *why, size_t why_len);
/* Integers must lie in [0, classes), floats must be finite: else -1, and why names the first row that is not so. */
int lt_data_check(lt_data *d, int64_t classes, char *why, size_t why_len);
/* Where a row is from: "t.csv, line 17", "rt.pos, line 3". */
void lt_data_where(const lt_data *d, int64_t row, char *text, size_t text_len);
void lt_data_close(lt_data *d);

/* The readers, for reference pages and completion: name, arguments, one line of text. NULL after the last. */
typedef struct lt_data_help { const char *name, *arguments, *text; } lt_data_help;
const lt_data_help *lt_data_readers(int k);
#endif
