/* `lathe ops`, `lathe targets`: what there is. */
#include "driver/driver.h"
#include "ir/ops.h"

int verb_ops(Options *o) {
  static const char *const how[] =
      {[HOW_SCALAR] = "scalar", [HOW_VIEW] = "view",           [HOW_LOWER] = "loops",
       [HOW_CALL] = "call",     [HOW_DECOMPOSE] = "decompose", [HOW_CONTROL] = "control"};
  static const char *const grad[] = {[GRAD_RULE] = "rule", [GRAD_ZERO] = "zero", [GRAD_NONE] = "none"};
  if (o->json) printf("[");
  for (int i = OP_NONE + 1; i < OP_COUNT; i++) {
    const OpInfo *x = &op_info[i];
    const char *attrs = x->attrs ? x->attrs : "", *why = x->no_grad ? x->no_grad : "";
    if (o->json) {
      printf("%s\n  {\"op\": \"%s\", \"how\": \"%s\", \"attributes\": \"%s\", \"gradient\": \"%s\", \"gradient_why\": \"%s\"}",
             i > 1 ? "," : "", x->text, how[x->how], attrs, grad[x->grad], why);
    } else {
      printf("%-18s %-10s gradient: %s%s%s%s%s\n", x->text, how[x->how], grad[x->grad], *why ? ", " : "", why,
             *attrs ? "  attributes: " : "", attrs);
    }
  }
  if (o->json) printf("\n]\n");
  return EXIT_DONE;
}

int verb_targets(Options *o) {
  if (o->json) printf("[");
  for (int i = 0; i < target_count; i++) {
    const Target *t = target_find(targets[i].name);
    if (o->json)
      printf("%s\n  {\"target\": \"%s\", \"note\": \"%s\", \"lanes\": %d, \"registers\": %d, \"flags\": \"%s\"}",
             i ? "," : "", t->name, t->note, t->lanes, t->registers, t->cflags);
    else
      printf("%-12s %-32s %2d lanes of f32  %2d registers  %s\n", t->name, t->note, t->lanes, t->registers,
             t->cflags);
  }
  if (o->json) printf("\n]\n");
  return EXIT_DONE;
}
