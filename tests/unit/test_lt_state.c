/* runtime/lt_state.c: blocks and checkpoint files, written, read, damaged, compared. */
#include "runtime/lt_state.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BYTES = 64 + 2 * 192 + 64 + 64 };                       /* header, table (448: a multiple of 64), w and step */
typedef union { unsigned char at[BYTES]; uint64_t align; } Block;

static char path[] = "/tmp/lathe-state-XXXXXX", why[600];

static void entry(Block *b, int k, const char *name, const char *dtype, int64_t n, uint64_t offset) {
  lt_state_entry e = {.rank = 1, .dims = {n}, .offset = offset, .bytes = (uint64_t)n * (uint64_t)lt_elem_bytes(dtype)};
  strcpy(e.name, name);
  strcpy(e.dtype, dtype);
  memcpy(b->at + 64 + 192 * k, &e, sizeof e);
}

static Block block(void) {
  Block b = {{0}};
  uint32_t head[2] = {1, 64}, tensors = 2;
  uint64_t sizes[2] = {77, BYTES};
  memcpy(b.at, "LATHESTA", 8);
  memcpy(b.at + 8, head, 8);
  memcpy(b.at + 16, sizes, 16);
  memcpy(b.at + 32, &tensors, 4);
  entry(&b, 0, "net.weight", "f32", 3, 448);
  entry(&b, 1, "random", "i64", 2, 512);
  for (int k = 448; k < BYTES; k++) b.at[k] = (unsigned char)k;
  return b;
}

static void start(void) {
  strcpy(path + strlen(path) - 6, "XXXXXX");
  close(mkstemp(path));
}
static void stop(void) { remove(path); }

Test(lt_state, written_and_read, .init = start, .fini = stop) {
  Block b = block();
  lt_state s;
  cr_assert(sizeof(lt_state_entry) == LT_STATE_ENTRY);
  cr_assert(!lt_state_save(path, b.at, BYTES, "mine", 5, why, sizeof why), "%s", why);
  cr_assert(!lt_state_load(path, &s, why, sizeof why), "%s", why);
  cr_expect(s.bytes == BYTES && !memcmp(s.block, b.at, BYTES) && s.own_bytes == 5 && !strcmp(s.own, "mine"));
  const lt_state_entry *e = lt_state_find(s.block, "random");
  cr_assert(e && e->dims[0] == 2 && lt_state_data(s.block, e) == (char *)s.block + 512);
  cr_expect_null(lt_state_find(s.block, "bias"));
  lt_state_free(&s);
  FILE *f = fopen(path, "wb");                                 /* an application's fwrite */
  cr_assert(f && fwrite(b.at, 1, BYTES, f) == BYTES);
  fclose(f);
  cr_assert(!lt_state_load(path, &s, why, sizeof why), "%s", why);
  cr_expect(s.bytes == BYTES && !s.own);
  lt_state_free(&s);
}

Test(lt_state, every_cut_and_every_turned_bit_is_found, .init = start, .fini = stop) {
  Block b = block();
  unsigned char good[BYTES + 5 + LT_STATE_TAIL];
  lt_state s;
  cr_assert(!lt_state_save(path, b.at, BYTES, "mine", 5, why, sizeof why));
  FILE *f = fopen(path, "rb");
  cr_assert(f && fread(good, 1, sizeof good, f) == sizeof good);
  fclose(f);
  for (size_t k = 0; k < 9 * sizeof good; k++) {
    unsigned char bad[sizeof good];
    size_t n = k < sizeof good ? k : sizeof good, bit = k - sizeof good;
    memcpy(bad, good, sizeof good);
    if (n == sizeof good) bad[bit / 8] ^= (unsigned char)(1 << bit % 8);
    f = fopen(path, "wb");
    cr_assert(f && fwrite(bad, 1, n, f) == n);
    fclose(f);
    bool ok = !lt_state_load(path, &s, why, sizeof why);
    /* cut to the block alone: as fwrite makes */
    cr_expect(ok == (n == BYTES), "%s", n < sizeof good ? "cut off" : "a bit");
    if (ok) lt_state_free(&s);
  }
}

Test(lt_state, another_network_is_named) {
  Block a = block(), b = block();
  cr_expect(!lt_state_same(a.at, b.at, "x.state", why, sizeof why));
  entry(&b, 0, "net.weight", "f32", 4, 448);
  cr_expect(lt_state_same(b.at, a.at, "x.state", why, sizeof why));
  cr_expect_str_eq(why, "x.state is of another network: its 'net.weight' is f32[4], here it is f32[3]");
  entry(&b, 0, "net.bias", "f32", 3, 448);
  cr_expect(lt_state_same(b.at, a.at, "x.state", why, sizeof why));
  cr_expect_str_eq(why, "x.state is of another network: it has no tensor 'net.weight' (f32[3])");
}

Test(lt_state, a_failed_write_leaves_the_old_file, .init = start, .fini = stop) {
  Block b = block();
  lt_state s;
  char part[100];
  cr_assert(!lt_state_save(path, b.at, BYTES, NULL, 0, why, sizeof why));
  snprintf(part, sizeof part, "%s.part", path);
  cr_assert(symlink("/dev/full", part) == 0);                  /* where the new one is written */
  b.at[500] ^= 1;
  cr_expect(lt_state_save(path, b.at, BYTES, NULL, 0, why, sizeof why));
  cr_expect(strstr(why, "No space left on device") != NULL, "%s", why);
  cr_expect(access(part, F_OK) != 0);
  cr_assert(!lt_state_load(path, &s, why, sizeof why), "%s", why);
  b.at[500] ^= 1;
  cr_expect(!memcmp(s.block, b.at, BYTES));
  lt_state_free(&s);
}
