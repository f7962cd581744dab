/* Gradients of elementwise functions, dx = dy * f'(x), in the order of scalar.def. Broadcast operands are summed by
 * grad_add_to. */
#include "passes/grad.h"

bool grad_add(GradNode *r) {
  grad_add_to(r, 0, r->dy[0]);
  grad_add_to(r, 1, r->dy[0]);
  return true;
}

bool grad_mul(GradNode *r) {
  if (grad_wants(r, 0)) grad_add_to(r, 0, build_mul(r->g, r->dy[0], r->in[1]));
  if (grad_wants(r, 1)) grad_add_to(r, 1, build_mul(r->g, r->dy[0], r->in[0]));
  return true;
}
