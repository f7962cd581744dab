/* `lathe compile`: the files of a module into a directory. */
#include "codegen/embed.h"
#include "driver/bundle.h"

static WeightsMode weights_mode(const Options *o, WeightsMode dflt) {
  static const char *const names[] = {[WEIGHTS_BIN] = "bin", [WEIGHTS_LINK] = "link", [WEIGHTS_ARRAY] = "array"};
  if (!o->weights) return dflt;
  for (int i = 0; i < 3; i++)
    if (!strcmp(o->weights, names[i])) return (WeightsMode)i;
  usage_error("--weights wants bin, link or array, not '%s'", o->weights);
}

bool model_emit(Compiled *c, const Options *o, WeightsMode dflt, bool table, EmitFiles *files) {
  double since = seconds_now();
  EmitOptions eo = {.prefix = c->prefix,
                    .command = c->command,
                    .target = c->target,
                    .weights = weights_mode(o, dflt),
                    .single_file = o->single_file,
                    .sleef = o->sleef,
                    .profile = o->layers || o->explain,
                    .model_table = table,
                    .parallel = options_part_cycles(o) > 0,
                    .in_pieces = !o->flat_weights};
  bool ok = emit_program(c->p, &eo, &c->arena, files, &c->diags) && !c->diags.errors;
  if (ok) phase_time(o, "emit", since);
  return ok;
}

/* The standalone program's sources: lt_main.c and what it includes. */
void add_runtime(Arena *a, EmitFiles *files) {
  static const char *const names[] = {"lt_main.c", "lt_file.c", "lt_file.h", "lt_memory.c", "lt_memory.h",
                                      "lt_image.c", "lt_image.h", "stb_image.h"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const EmbedFile *f = embed_find(names[i]);
    if (f) *vec_push(a, &files->at) = (EmitFile){.name = f->name, .data = f->text, .size = f->size};
  }
}

int verb_compile(Options *o) {
  if (!o->output) usage_error("compile wants -o DIR");
  if (!output_is_folder(o->output)) return EXIT_FAILED;
  if (is_language(o->args.at[0]) && !o->checkpoint) return bundle_compile(o);
  Compiled c;
  EmitFiles files = {0};
  o->want_dims = true;
  if (!model_tune(o->args.at[0], o)) return EXIT_FAILED;
  bool ok = model_compile(&c, o->args.at[0], o);
  if (ok) {
    ok = model_emit(&c, o, WEIGHTS_BIN, o->with_main, &files);
    if (ok && o->with_main) add_runtime(&c.arena, &files);
    ok = ok && files_write(&files, o->output, &c.diags);
    for (int i = 0; ok && i < files.at.len; i++)
      printf("%s/%s  %zu bytes\n", o->output, files.at.at[i].name, files.at.at[i].size);
    compiled_free(&c);
  }
  return ok ? EXIT_DONE : EXIT_FAILED;
}
