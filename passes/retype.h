/* The same network in another element type: f32 -> f64 before gradients are compared with finite differences. */
#ifndef PASSES_RETYPE_H
#define PASSES_RETYPE_H
#include "ir/ops.h"

/* Every value, constant and attribute of type `from` is `to` afterwards, and types are inferred anew. What makes
 * numbers of one type only (random) is followed by a cast. False: an op does not take the type; the module's diags say
 * which. */
bool module_retype(Module *m, DType from, DType to);
#endif
