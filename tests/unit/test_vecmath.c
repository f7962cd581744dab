/* The expander of runtime/vecmath.tmpl on small templates; what the functions compute: tests/vecmath. */
#include "codegen/vecmath.h"
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char small[] =
  "words before the first section\n"
  "//@ base W=1\n"
  "float base_1(f32x$W x);\n"
  "//@ base W>1\n"
  "f32x$W base_$W(f32x$W x);\n"
  "--- A title ---\n"
  "words between chapters\n"
  "//@ slow W>1 needs: base/1\n"
  "\n"
  "i32x$W slow_$W(u32x$W x);\n"
  "\n"
  "//@ top needs: base\n"
  "f64x$W top_$W;\n";

/* The text for some uses, or the error. */
static char *expand(const char *template_text, const VecmathUse *uses, int n) {
  VecmathText out = {0};
  static char error[200];
  if (vecmath_expand(&out, template_text, uses, n, error, sizeof error) == 0) return out.data;
  cr_assert(out.length == 0);
  free(out.data);
  return strdup(error);
}
#define USES(...) (VecmathUse[]){__VA_ARGS__}, (int)(sizeof((VecmathUse[]){__VA_ARGS__}) / sizeof(VecmathUse))
#define IS(want, ...) do { char *got = expand(small, USES(__VA_ARGS__)); cr_assert_str_eq(got, want); free(got); } while (0)

Test(vecmath, one_lane_has_plain_types) {
  IS("float base_1(float x);\n\ndouble top_1;\n\n", {"top", 1});
}

Test(vecmath, each_section_once_after_its_needs) {
  IS("float base_1(float x);\n\nf32x4 base_4(f32x4 x);\n\ni32x4 slow_4(u32x4 x);\n\nf64x4 top_4;\n\n",
     {"top", 4}, {"slow", 4}, {"top", 4});
}

Test(vecmath, all_of_one_width) {
  IS("float base_1(float x);\n\nf32x2 base_2(f32x2 x);\n\ni32x2 slow_2(u32x2 x);\n\nf64x2 top_2;\n\n", {"*", 2});
}

Test(vecmath, refusals) {
  IS("vecmath: no function 'gone' at 8 lanes", {"gone", 8});
  IS("vecmath: no function 'slow' at 1 lane", {"slow", 1});
  IS("vecmath: 'top' at 3 lanes: a power of two up to 64 is needed", {"top", 3});
  char *got = expand("//@ late needs: later\nx\n//@ later\ny\n", USES({"late", 1}));
  cr_assert_str_eq(got, "vecmath template: section 'late' needs 'later', not above it");
  free(got);
  got = expand("//@ odd W=2\nx\n", USES({"odd", 2}));
  cr_assert_str_eq(got, "vecmath template: section 'odd': what is 'W=2'?");
  free(got);
}

Test(vecmath, has) {
  cr_assert(vecmath_has(small, "slow", 8));
  cr_assert(!vecmath_has(small, "slow", 1));
  cr_assert(!vecmath_has(small, "fast", 8));
}

static const char *real_template(void) {               // the tests run from the project's root, as make does
  static char text[1 << 18];
  FILE *f = fopen("runtime/vecmath.tmpl", "rb");
  cr_assert(f, "runtime/vecmath.tmpl");
  cr_assert(fread(text, 1, sizeof text - 1, f) > 10000);
  fclose(f);
  return text;
}

Test(vecmath, real_template_expands) {
  char *got = expand(real_template(), USES({"*", 1}, {"*", 2}, {"*", 4}, {"*", 8}, {"*", 16}));
  cr_assert(strstr(got, "lt_exp_16(f32x16 x) {"), "%s", got);
  cr_assert(!strchr(got, '$'));
  free(got);
}

static bool has_word(const char *line, const char *word, size_t length) {
  for (const char *end = strchr(line, '\n'), *at = line; at + length <= end; at++)
    if (at[-1] == ' ' && !memcmp(at, word, length) && strchr(" /\n", at[length])) return true;
  return false;
}

/* A section's needs are exactly the functions it calls: one too few does not compile, one too many leaves an
 * unused function in somebody's file. */
Test(vecmath, needs_are_calls) {
  int sections = 0;
  for (const char *at = strstr(real_template(), "\n//@ "); at; sections++) {
    const char *header = at + 5, *body = strchr(header, '\n'), *end = strstr(body, "\n//@ ");
    size_t name = strcspn(header, " \n");
    char *text = strndup(body, end ? (size_t)(end - body) : strlen(body));
    for (char *call = strstr(text, "lt_"); call; call = strstr(call + 3, "lt_")) {
      char *stop = call + 3 + strspn(call + 3, "abcdefghijklmnopqrstuvwxyz0123456789_");
      while (*--stop != '_') continue;                  // lt_NAME_$W, lt_NAME_1
      size_t length = (size_t)(stop - call) - 3;
      bool self = length == name && !memcmp(call + 3, header, name);
      cr_expect(self || has_word(header + name + 1, call + 3, length), "%.*s calls %.*s", (int)name, header,
                (int)length, call + 3);
    }
    const char *needs = strstr(header, "needs: ");
    for (const char *word = needs && needs < body ? needs + 7 : body; word < body; word += strcspn(word, " \n") + 1) {
      char *as_called = strndup(word, strcspn(word, " /\n")), call[80];
      snprintf(call, sizeof call, "lt_%s_", as_called);
      if (strcmp(as_called, "lanes64"))
        cr_expect(strstr(text, call), "%.*s does not call %s", (int)name, header, as_called);
      free(as_called);
    }
    free(text);
    at = end;
  }
  cr_assert(sections > 80, "%d", sections);
}
