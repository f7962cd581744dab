/* The expander of runtime/vecmath.tmpl on small templates; what the functions compute: tests/vecmath. */
#include "codegen/vecmath.h"
#include <criterion/criterion.h>
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

/* Every `needs` of the real template holds, at every width: run from the project's root, as make does. */
Test(vecmath, real_template_is_whole) {
  FILE *f = fopen("runtime/vecmath.tmpl", "rb");
  cr_assert(f, "runtime/vecmath.tmpl");
  static char text[1 << 18];
  cr_assert(fread(text, 1, sizeof text - 1, f) > 10000);
  fclose(f);
  char *got = expand(text, USES({"*", 1}, {"*", 2}, {"*", 4}, {"*", 8}, {"*", 16}));
  cr_assert(strstr(got, "lt_exp_16(f32x16 x) {"), "%s", got);
  cr_assert(!strchr(got, '$'));
  free(got);
}
