/* Writes a header with functions of runtime/vecmath.tmpl, for tests and for looking at them:
 *   vecmath_generate TEMPLATE NAME/WIDTH... > out.h        ('*'/16 for all functions at 16 lanes)
 * The vector types, which lathe's emitter would declare, are declared for the widths given. */

#include "codegen/vecmath.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file)
    return NULL;
  size_t capacity = 1 << 20;
  char *text = malloc(capacity + 1);
  size_t length = text ? fread(text, 1, capacity, file) : 0;
  fclose(file);
  if (text)
    text[length] = '\0';
  return text;
}

static void print_types(int width) {
  if (width == 1)
    return;
  printf("typedef float f32x%d __attribute__((vector_size(%d)));\n", width, 4 * width);
  printf("typedef int32_t i32x%d __attribute__((vector_size(%d)));\n", width, 4 * width);
  printf("typedef uint32_t u32x%d __attribute__((vector_size(%d)));\n", width, 4 * width);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: vecmath_generate TEMPLATE NAME/WIDTH...\n");
    return 2;
  }
  char *text = read_file(argv[1]);
  VecmathUse *uses = calloc((size_t)argc, sizeof *uses);
  if (!text || !uses) {
    fprintf(stderr, "%s: cannot be read\n", argv[1]);
    return 1;
  }
  printf("#include <math.h>\n#include <stdint.h>\n\n");
  unsigned declared = 0;
  for (int i = 2; i < argc; i++) {
    char *slash = strchr(argv[i], '/');
    uses[i - 2] = (VecmathUse){argv[i], slash ? atoi(slash + 1) : 0};
    if (slash)
      *slash = '\0';
    if (!(declared & (unsigned)uses[i - 2].width))
      print_types(uses[i - 2].width);
    declared |= (unsigned)uses[i - 2].width;
  }
  VecmathText out = {0};
  char error[200];
  if (vecmath_expand(&out, text, uses, argc - 2, error, sizeof error) != 0) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  printf("\n%s", out.data);
  free(out.data);
  free(uses);
  free(text);
  return 0;
}
