/* runtime/lt_data*.c, lt_zip.c, lt_csv.c: every reader on small files, its errors, and damaged files. A row's call
 * gives a text: type, rows, tokens and values; or the error. */
#include "runtime/lt_data.h"
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Made by Python's gzip and zipfile: idx u8 [3, 2, 4] of 0 … 11 and twelve sevens; data/a.txt and data/b.txt (below);
 * x.npy, f32 [2, 3] of 1 … 6. */
static const unsigned char images_gz[] = {
  31,139,8,0,0,0,0,0,2,3,99,96,224,96,102,96,96,0,97,38,32,102,97,96,100,98,102,97,101,99,231,224,228,226,102,71,
  2,0,184,39,134,48,40,0,0,0,
};

static const unsigned char texts_zip[] = {
  80,75,3,4,20,0,0,0,8,0,0,0,33,80,188,1,16,212,25,0,0,0,54,0,0,0,10,0,0,0,100,97,116,97,47,97,46,116,120,116,203,
  207,75,85,40,41,207,7,97,46,174,146,140,162,84,8,55,63,47,149,43,31,183,20,0,80,75,3,4,20,0,0,0,8,0,0,0,33,80,
  116,202,243,28,7,0,0,0,5,0,0,0,10,0,0,0,100,97,116,97,47,98,46,116,120,116,75,203,47,45,226,2,0,80,75,1,2,20,3,
  20,0,0,0,8,0,0,0,33,80,188,1,16,212,25,0,0,0,54,0,0,0,10,0,0,0,0,0,0,0,0,0,0,0,128,1,0,0,0,0,100,97,116,97,47,
  97,46,116,120,116,80,75,1,2,20,3,20,0,0,0,8,0,0,0,33,80,116,202,243,28,7,0,0,0,5,0,0,0,10,0,0,0,0,0,0,0,0,0,0,0,
  128,1,65,0,0,0,100,97,116,97,47,98,46,116,120,116,80,75,5,6,0,0,0,0,2,0,2,0,112,0,0,0,112,0,0,0,0,0,
};

static const unsigned char x_npz[] = {
  80,75,3,4,20,0,0,0,8,0,0,0,33,80,124,156,222,162,88,0,0,0,152,0,0,0,5,0,0,0,120,46,110,112,121,155,236,23,234,
  27,16,201,200,80,198,80,173,158,146,90,156,92,164,110,165,160,110,147,102,162,174,163,160,158,150,95,84,82,148,
  152,23,159,95,148,146,10,18,119,75,204,41,78,5,138,23,103,36,22,164,2,249,26,70,58,10,198,154,58,10,181,10,100,
  3,46,6,134,6,123,6,6,6,7,32,2,226,6,32,94,0,196,7,28,0,80,75,1,2,20,3,20,0,0,0,8,0,0,0,33,80,124,156,222,162,88,
  0,0,0,152,0,0,0,5,0,0,0,0,0,0,0,0,0,0,0,128,1,0,0,0,0,120,46,110,112,121,80,75,5,6,0,0,0,0,1,0,1,0,51,0,0,0,123,
  0,0,0,0,0,
};

static char folder[] = "/tmp/lathe-data-XXXXXX";

static void put_bytes(const char *name, const void *bytes, size_t n) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, "wb");
  cr_assert(f && fwrite(bytes, 1, n, f) == n);
  fclose(f);
}

static void put(const char *name, const char *text) { put_bytes(name, text, strlen(text)); }

static void make_folder(const char *name) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  cr_assert(mkdir(path, 0777) == 0);
}

static void start(void) {
  strcpy(folder + strlen(folder) - 6, "XXXXXX");
  cr_assert(mkdtemp(folder));
  put_bytes("images.gz", images_gz, sizeof images_gz);
  put_bytes("texts.zip", texts_zip, sizeof texts_zip);
  put_bytes("d.npz", x_npz, sizeof x_npz);
}

static void stop(void) {
  char command[200];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  cr_assert(system(command) == 0);
}

/* What a call gives, in text. */
static const char *said(const char *call) {
  static char text[4000];
  char why[700];
  size_t n = 0;
  lt_data d;
  if (lt_data_open(call, folder, &d, why, sizeof why)) {
    /* paths with the folder in front, where a system call failed */
    bool whole = !strncmp(why, folder, strlen(folder));
    snprintf(text, sizeof text, "%s", why + (whole ? strlen(folder) + 1 : 0));
    return text;
  }
  n += (size_t)snprintf(text + n, sizeof text - n, "%s[", d.dtype);
  for (int k = 0; k < d.rank; k++)
    n += (size_t)snprintf(text + n, sizeof text - n, "%s%lld", k ? "," : "", (long long)d.dims[k]);
  n += (size_t)snprintf(text + n, sizeof text - n, "] x %lld", (long long)d.rows);
  for (int64_t k = 0; k < d.classes; k++)
    n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", k ? "," : " of ", d.token[k]);
  for (int64_t row = 0; row < d.rows && n < sizeof text - 500; row++) {
    lt_tensor t = {.elem_bytes = d.elem_bytes, .count = (int64_t)d.row_bytes / d.elem_bytes,
                   .data = malloc(d.row_bytes)};
    strcpy(t.dtype, d.dtype);
    cr_assert(!lt_data_rows(&d, &row, 1, t.data, why, sizeof why), "%s", why);
    for (int64_t i = 0; i < t.count; i++)
      n += (size_t)snprintf(text + n, sizeof text - n, "%s%g", i ? " " : ": ", lt_get(&t, i));
    lt_tensor_free(&t);
  }
  lt_data_close(&d);
  return text;
}

typedef struct { const char *call, *want; } Case;

static void run(const Case *c, size_t n) {
  for (size_t k = 0; k < n; k++) {
    const char *got = said(c[k].call);
    cr_expect_str_eq(got, c[k].want, "%s\n  gives %s\n  wanted %s", c[k].call, got, c[k].want);
  }
}
#define RUN(cases) run(cases, sizeof cases / sizeof *cases)

Test(lt_data, arrays, .init = start, .fini = stop) {
  put("short.idx", "");
  put_bytes("label.idx", "\0\0\x08\1\0\0\0\3\5\6\7", 11);
  put_bytes("wide.idx", "\0\0\x0b\1\0\0\0\2\1\2\xff\xff", 12);
  put_bytes("cut.idx", "\0\0\x08\1\0\0\0\4\5\6\7", 11);
  put_bytes("odd.idx", "\0\0\x07\1\0\0\0\0", 8);
  static const Case cases[] = {
    {"idx(\"images.gz\")", "u8[2,4] x 3: 0 1 2 3 4 5 6 7: 8 9 10 11 7 7 7 7: 7 7 7 7 7 7 7 7"},
    {"idx(\"label.idx\")", "u8[] x 3: 5: 6: 7"},
    {"idx(\"wide.idx\")", "i16[] x 2: 258: -1"},
    {"npz(\"d.npz\", \"x\")", "f32[3] x 2: 1 2 3: 4 5 6"},
    {"idx(\"cut.idx\")", "cut.idx: its header promises 4 bytes of data, it has 3; the file is cut off"},
    {"idx(\"odd.idx\")", "odd.idx: idx has no element type 7; the file is damaged"},
    {"idx(\"texts.zip/a.txt\")", "texts.zip/a.txt is not an idx file: it does not begin with two zeros"},
    {"npz(\"d.npz\", \"y\")", "d.npz, 'y.npy': the archive has no such member; it holds x.npy"},
    {"npy(\"label.idx\")", "label.idx: not a .npy file"},
  };
  RUN(cases);
}

Test(lt_data, csv, .init = start, .fini = stop) {
  put("t.csv", "age, kind ,\"size, cm\"\r\n1,dog,2.5\r\n\r\n3,\"c\"\"at\",4e1\r\n");
  put("plain.csv", "1,2\n3,4");
  put("bad.csv", "a,b\n1,2\n3,x\n");
  put("short.csv", "a,b\n1,2\n3\n");
  put("hole.csv", "a,b\n1,\n3,4\n");
  put("quote.csv", "a,b\n1,\"2\n3,4\n");
  put("t.tsv", "a\tb\n1\t2\n");
  static const Case cases[] = {
    {"csv(\"t.csv\", column=\"age\")", "f32[] x 2: 1: 3"},
    {"csv(\"t.csv\", columns=\"size\")", "t.csv has no column 'size'; it has age, kind, size, cm"},
    {"csv(\"t.csv\", column=3)", "f32[] x 2: 2.5: 40"},
    {"csv(\"plain.csv\")", "f32[2] x 2: 1 2: 3 4"},
    {"csv(\"plain.csv\", header=true)", "f32[2] x 1: 3 4"},
    {"csv(\"t.tsv\", columns=\"b, a\")", "f32[2] x 1: 2 1"},
    {"csv(\"hole.csv\", missing=-1)", "f32[2] x 2: 1 -1: 3 4"},
    {"csv(\"t.csv\")", "t.csv, line 2, column 'kind': 'dog' is not a number"},
    {"csv(\"bad.csv\")", "bad.csv, line 3, column 'b': 'x' is not a number"},
    {"csv(\"short.csv\")", "short.csv, line 3: has 1 fields, the first line has 2"},
    {"csv(\"hole.csv\")", "hole.csv, line 2, column 'b': is empty; missing=0 would read it as 0"},
    {"csv(\"quote.csv\")", "quote.csv, line 2: the quote that opens field 2 is not closed"},
    {"csv(\"t.csv\", column=9)", "t.csv has 3 columns; there is no column 9"},
    {"labels(\"t.csv\", column=2)", "i32[] x 2 of c\"at,dog: 1: 0"},
    {"words(\"t.csv\", column=2, length=2, header=true)", "i32[2] x 2 of <pad>,<unk>,c\"at,dog: 3 0: 2 0"},
  };
  RUN(cases);
}

Test(lt_data, text, .init = start, .fini = stop) {
  put("abc.txt", "abcabca");
  put("latin.txt", "\xe9t\xc3\xa9\n\nu");
  put("first.txt", "pos good film\n neg  bad\n\npos\n");
  put("ten.txt", "10 x\n9 y\n10 z\n");
  static const Case cases[] = {
      {"text(\"abc.txt\", length=3)", "i32[3] x 2 of a,b,c: 0 1 2: 0 1 2"},
      {"text(\"abc.txt\", length=3, stride=2)", "i32[3] x 3 of a,b,c: 0 1 2: 2 0 1: 1 2 0"},
      {"text(\"abc.txt\", \"abc.txt\", length=5, stride=1)",
       "i32[5] x 6 of a,b,c: 0 1 2 0 1: 1 2 0 1 2: 2 0 1 2 0: 0 1 2 0 1: 1 2 0 1 2: 2 0 1 2 0"},
      {"text(\"abc.txt\", length=9)", "abc.txt has fewer than the 9 characters of one row"},
      {"characters(\"latin.txt\", length=4)", "i32[4] x 2 of ,?,t,u,\xc3\xa9: 4 2 4 0: 3 0 0 0"},
      {"characters(\"latin.txt\", length=2, pad=\"left\")", "i32[2] x 2 of ,?,t,u,\xc3\xa9: 4 2: 0 3"},
      {"words(\"texts.zip/a.txt\", \"texts.zip/data/b.txt\", length=3)",
       "i32[3] x 5 of <pad>,<unk>,two,one,three,four: 3 2 2: 4 2 3: 3 2 2: 4 2 3: 5 0 0"},
      {"words(\"texts.zip/a.txt\", \"texts.zip/b.txt\", length=2, vocab=4)",
       "i32[2] x 5 of <pad>,<unk>,two,one: 3 2: 1 2: 3 2: 1 2: 1 0"},
      {"words(\"texts.zip/b.txt\", length=2, min_count=2)", "i32[2] x 1 of <pad>,<unk>: 1 0"},
      {"labels(\"texts.zip/a.txt\", \"texts.zip/b.txt\")", "i32[] x 5 of a,b: 0: 0: 0: 0: 1"},
      {"words(\"first.txt\", label=\"first\", length=2)", "i32[2] x 3 of <pad>,<unk>,bad,film,good: 4 3: 2 0: 0 0"},
      {"labels(\"first.txt\", label=\"first\")", "i32[] x 3 of neg,pos: 1: 0: 1"},
      {"labels(\"ten.txt\", label=\"first\")", "i32[] x 3 of 9,10: 1: 0: 1"},
      {"words(\"texts.zip\", length=1)",
       "texts.zip: say which member of the archive, as archive.zip/member: it holds data/a.txt, data/b.txt"},
  };
  RUN(cases);
}

Test(lt_data, images, .init = start, .fini = stop) {
  make_folder("pets");
  make_folder("pets/cat");
  make_folder("pets/dog");
  put("pets/cat/1.ppm", "P6 2 2 255\n\1\2\3\4\5\6\7\10\11\12\13\14");
  put_bytes("pets/dog/2.pgm", "P5 1 1 255\n\x64", 12);
  put_bytes("pets/dog/3.png", "nothing", 7);
  static const Case cases[] = {
    {"labels(\"pets\")", "i32[] x 3 of cat,dog: 0: 1: 1"},
    {"images(\"pets/cat\", height=2, width=2)", "u8[3,2,2] x 1: 1 4 7 10 2 5 8 11 3 6 9 12"},
    {"images(\"pets/cat\", height=1, width=1)", "u8[3,1,1] x 1: 6 7 8"},
    {"images(\"pets/cat\", height=1, width=4, channels=3)", "u8[3,1,4] x 1: 4 5 6 7 5 6 7 8 6 7 8 9"},
    {"labels(\"pets/cat\")", "pets/cat/1.ppm is in no sub-folder, and the sub-folder would be its class"},
  };
  RUN(cases);
  lt_data d;
  char why[500];
  unsigned char out[12];
  cr_assert(!lt_data_open("images(\"pets\", height=2, width=2, channels=1)", folder, &d, why, sizeof why));
  cr_assert(!lt_data_rows(&d, (int64_t[]){1}, 1, out, why, sizeof why));
  cr_expect(out[0] == 100 && out[3] == 100);
  cr_expect(lt_data_rows(&d, (int64_t[]){2}, 1, out, why, sizeof why) && strstr(why, "pets/dog/3.png: "), "%s", why);
  lt_data_close(&d);
}

Test(lt_data, calls, .init = start, .fini = stop) {
  static const Case cases[] = {
    {"idx()", "idx takes (FILE)"},
    {"idx(\"images.gz\", 1)", "idx takes (FILE)"},
    {"idx(\"images.gz\"", "idx: expected ',' or ')' at ''"},
    {"idx(\"images.gz", "a quote is not closed: \"images.gz"},
    {"idx(\"images.gz\") / 255", "idx: nothing may follow the call: '/ 255'"},
    {"idx", "expected idx(\"file\", …)"},
    {"raw(\"a\")", "there is no reader 'raw'; there are idx, npy, npz, csv, text, words, characters, labels, images"},
    {"text(\"a\")", "text wants length=…; it takes (FILE, ..., length=N, [stride=N])"},
    {"text(\"a\", length=1.5)", "text: length must be an integer, not '1.5'"},
    {"text(\"a\", size=1)", "text has no option 'size'; it takes (FILE, ..., length=N, [stride=N])"},
    {"text(length=2, \"a\")", "text: 'a' stands behind an option; files come first"},
    {"csv(\"a\", header=maybe)", "csv: header must be true or false"},
    {"csv(\"a\", columns=1)", "csv: columns must be a text in quotes"},
    {"words(\"a\", label=\"x\", length=1)", "words: label can be \"first\", the first word of a line, not \"x\""},
  };
  RUN(cases);
  const char *got = said("npy(\"none.npy\")");
  cr_expect(strstr(got, "cannot open") && strstr(got, "none.npy"), "%s", got);
}

Test(lt_data, check_names_row_and_value, .init = start, .fini = stop) {
  put_bytes("label.idx", "\0\0\x08\1\0\0\0\3\5\6\7", 11);
  put("t.csv", "a,b\n1,2\n3,nan\n");
  lt_data d;
  char why[300];
  cr_assert(!lt_data_open("idx(\"label.idx\")", folder, &d, why, sizeof why));
  cr_expect(!lt_data_check(&d, 8, why, sizeof why));
  cr_expect(lt_data_check(&d, 7, why, sizeof why));
  cr_expect_str_eq(why, "label.idx, row 2: the value is 7; the network takes 0 to 6");
  lt_data_close(&d);
  cr_assert(!lt_data_open("csv(\"t.csv\")", folder, &d, why, sizeof why));
  cr_expect(lt_data_check(&d, 0, why, sizeof why));
  cr_expect_str_eq(why, "t.csv, line 3: the value is NaN");
  lt_data_close(&d);
}

/* Cut off at every length, and with every bit turned: never a crash (see it under SAN=1); and where a format has a
 * checksum an error, or what the whole file gives: never other values. */
static void damage(const char *name, const unsigned char *bytes, size_t n, const char *call) {
  unsigned char *copy = malloc(n);
  bool sums = bytes[0] == 0x1f || (bytes[0] == 'P' && bytes[1] == 'K');
  char good[4000];
  put_bytes(name, bytes, n);
  strcpy(good, said(call));
  for (size_t k = 0; k < n; k++) {
    put_bytes(name, bytes, k);
    said(call);
  }
  for (size_t bit = 0; bit < 8 * n; bit++) {
    memcpy(copy, bytes, n);
    copy[bit / 8] ^= (unsigned char)(1 << bit % 8);
    put_bytes(name, copy, n);
    const char *got = said(call);
    cr_expect(!sums || strstr(got, name) || !strcmp(got, good), "%s, bit %zu: %s", call, bit, got);
  }
  free(copy);
}

Test(lt_data, damaged_files, .init = start, .fini = stop) {
  static const char table[] = "a,\"b c\",d\n1,2,3\n4,\"5\",6\n";
  static const char lines[] = "\xef\xbb\xbf" "caf\xc3\xa9 one\n\xf0\x9f\x98\x80 two\n";
  static const char png[] = "P6 2 2 255\n\1\2\3\4\5\6\7\10\11\12\13\14";
  damage("images.gz", images_gz, sizeof images_gz, "idx(\"images.gz\")");
  damage("texts.zip", texts_zip, sizeof texts_zip, "words(\"texts.zip/a.txt\", length=3)");
  damage("d.npz", x_npz, sizeof x_npz, "npz(\"d.npz\", \"x\")");
  damage("t.csv", (const unsigned char *)table, sizeof table - 1, "csv(\"t.csv\")");
  damage("t.csv", (const unsigned char *)table, sizeof table - 1, "labels(\"t.csv\", column=2)");
  damage("t.txt", (const unsigned char *)lines, sizeof lines - 1, "words(\"t.txt\", length=3)");
  damage("t.txt", (const unsigned char *)lines, sizeof lines - 1, "characters(\"t.txt\", lower=true, length=3)");
  damage("t.txt", (const unsigned char *)lines, sizeof lines - 1, "text(\"t.txt\", length=3)");
  make_folder("f");
  damage("f/a.ppm", (const unsigned char *)png, sizeof png - 1, "labels(\"f\")");
}
