/* if, loop, scan: regions become graphs in attributes. */
#include "frontend/export.h"

bool export_if(Export *x) {
  bool ok = exp_direct(x, "If");
  Onnx__Node *n = x->last;
  Onnx__Graph *then = exp_region(x, x->n->region[0], "then");
  ok &= !x->failed;
  Onnx__Graph *other = exp_region(x, x->n->region[1], "else");
  exp_graph(x, n, "then_branch", then);
  exp_graph(x, n, "else_branch", other);
  return ok && !x->failed;
}

bool export_loop(Export *x) {
  exp_direct(x, "Loop");
  Onnx__Node *n = x->last;
  exp_graph(x, n, "body", exp_region(x, x->n->region[0], "body"));
  return !x->failed;
}

bool export_scan(Export *x) {
  exp_direct(x, "Scan");
  Onnx__Node *n = x->last;
  exp_int(x, "num_scan_inputs", node_int(x->n, "scan_inputs", 1));
  if (!exp_copy_list(x, "in_axes", "scan_input_axes") || !exp_copy_list(x, "in_reverse", "scan_input_directions") ||
      !exp_copy_list(x, "out_axes", "scan_output_axes") ||
      !exp_copy_list(x, "out_reverse", "scan_output_directions")) return false;
  exp_graph(x, n, "body", exp_region(x, x->n->region[0], "body"));
  return !x->failed;
}
