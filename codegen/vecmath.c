/* Expands runtime/vecmath.tmpl: see vecmath.h for the interface, the template for its format.
 *
 * The text is cut into sections once.  A section at one width is either wanted or not: a bit per
 * width in Section.wanted.  Wanting spreads from the uses along `needs`; because a section's needs
 * must stand above it, one walk from the last section to the first settles everything, and writing
 * from first to last puts callees before callers. */

#include "codegen/vecmath.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH_BITS = 7 }; // widths 1, 2, 4 ... 64

typedef struct Span {
  const char *at;
  size_t length;
} Span;

typedef struct Section {
  Span name;
  Span needs;      // names separated by blanks, each NAME or NAME/WIDTH
  Span body;       // the C text, without blank lines at its end
  unsigned serves; // widths it is for, bit b for 2^b lanes
  unsigned wanted;
} Section;

typedef struct Template {
  Section *sections;
  int count;
  char *error;
  size_t error_size;
} Template;

static int template_fail(Template *t, const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (t->error_size > 0)
    vsnprintf(t->error, t->error_size, format, args);
  va_end(args);
  return -1;
}

static int width_bit(long width) {
  for (int bit = 0; bit < WIDTH_BITS; bit++)
    if (width == 1L << bit)
      return bit;
  return -1;
}

static int span_is(Span span, const char *text) {
  return strlen(text) == span.length && memcmp(span.at, text, span.length) == 0;
}

/* Cuts the next word off the front of `text`; an empty one at the end. */
static Span span_word(Span *text) {
  while (text->length > 0 && *text->at == ' ')
    text->at++, text->length--;
  Span word = {text->at, 0};
  while (word.length < text->length && word.at[word.length] != ' ')
    word.length++;
  text->at += word.length;
  text->length -= word.length;
  return word;
}

static Span line_at(const char *at) {
  const char *end = strchr(at, '\n');
  return (Span){at, end ? (size_t)(end - at) : strlen(at)};
}

static int line_opens_section(Span line) {
  return line.length > 4 && memcmp(line.at, "//@ ", 4) == 0;
}

/* Chapter titles, "--- Title ---", end a section's body and are not emitted. */
static int line_is_title(Span line) {
  return line.length >= 4 && memcmp(line.at, "--- ", 4) == 0;
}

static int parse_header(Template *t, Span line, Section *section) {
  Span rest = {line.at + 4, line.length - 4};
  const unsigned all = (1u << WIDTH_BITS) - 1;
  *section = (Section){.name = span_word(&rest), .serves = all};
  for (Span word; (word = span_word(&rest)).length > 0;) {
    if (span_is(word, "W=1")) {
      section->serves = 1;
    } else if (span_is(word, "W>1")) {
      section->serves = all & ~1u;
    } else if (span_is(word, "needs:")) {
      section->needs = rest;
      return 0;
    } else {
      return template_fail(t, "vecmath template: section '%.*s': what is '%.*s'?",
                 (int)section->name.length, section->name.at, (int)word.length,
                 word.at);
    }
  }
  return 0;
}

static int template_parse(Template *t, const char *text) {
  int capacity = 0;
  Section *open = NULL;
  for (const char *at = text; *at;) {
    Span line = line_at(at);
    if (line_opens_section(line)) {
      if (t->count == capacity) {
        capacity = capacity ? 2 * capacity : 128;
        Section *grown = realloc(t->sections, (size_t)capacity * sizeof *grown);
        if (!grown)
          return template_fail(t, "vecmath: out of memory");
        t->sections = grown;
      }
      open = &t->sections[t->count++];
      if (parse_header(t, line, open) != 0)
        return -1;
    } else if (line_is_title(line)) {
      open = NULL;
    } else if (open && line.length > 0) {
      if (!open->body.at)
        open->body.at = line.at;
      open->body.length = (size_t)(line.at + line.length - open->body.at);
    }
    at += line.length + (at[line.length] == '\n');
  }
  if (t->count == 0)
    return template_fail(t, "vecmath template: no sections");
  return 0;
}

/* The section `name` at width 2^bit among the first `limit`, or NULL. */
static Section *template_find(const Template *t, Span name, int bit, int limit) {
  for (int i = 0; i < limit; i++) {
    Section *s = &t->sections[i];
    if (s->name.length == name.length && memcmp(s->name.at, name.at, name.length) == 0 &&
      s->serves >> bit & 1)
      return s;
  }
  return NULL;
}

/* Marks what section `index` calls at width 2^bit. */
static int want_needs(Template *t, int index, int bit) {
  Span rest = t->sections[index].needs;
  for (Span name; (name = span_word(&rest)).length > 0;) {
    int need_bit = bit;
    const char *slash = memchr(name.at, '/', name.length);
    if (slash) {
      need_bit = width_bit(strtol(slash + 1, NULL, 10));
      name.length = (size_t)(slash - name.at);
    }
    Section *need = need_bit < 0 ? NULL : template_find(t, name, need_bit, index);
    if (!need)
      return template_fail(t, "vecmath template: section '%.*s' needs '%.*s', not above it",
                 (int)t->sections[index].name.length, t->sections[index].name.at,
                 (int)name.length, name.at);
    need->wanted |= 1u << need_bit;
  }
  return 0;
}

static int want_uses(Template *t, const VecmathUse *uses, int n_uses) {
  for (int i = 0; i < n_uses; i++) {
    int bit = width_bit(uses[i].width);
    if (bit < 0)
      return template_fail(t, "vecmath: '%s' at %d lanes: a power of two up to %d is needed",
                 uses[i].name, uses[i].width, 1 << (WIDTH_BITS - 1));
    if (strcmp(uses[i].name, "*") == 0) {
      for (int s = 0; s < t->count; s++)
        t->sections[s].wanted |= t->sections[s].serves & 1u << bit;
      continue;
    }
    Section *s = template_find(t, (Span){uses[i].name, strlen(uses[i].name)}, bit, t->count);
    if (!s)
      return template_fail(t, "vecmath: no function '%s' at %d lane%s", uses[i].name, uses[i].width,
                           uses[i].width == 1 ? "" : "s");
    s->wanted |= 1u << bit;
  }
  for (int s = t->count - 1; s >= 0; s--)
    for (int bit = 0; bit < WIDTH_BITS; bit++)
      if (t->sections[s].wanted >> bit & 1 && want_needs(t, s, bit) != 0)
        return -1;
  return 0;
}

static int text_append(VecmathText *out, const char *from, size_t length) {
  if (out->length + length + 1 > out->capacity) {
    size_t capacity = 2 * (out->length + length) + 4096;
    char *grown = realloc(out->data, capacity);
    if (!grown)
      return -1;
    out->data = grown;
    out->capacity = capacity;
  }
  memcpy(out->data + out->length, from, length);
  out->length += length;
  out->data[out->length] = '\0';
  return 0;
}

/* One lane is no vector: C has its own names for these. */
static const struct {
  const char *lanes, *plain;
} one_lane_types[] = {
  {"f32x$W", "float"},   {"i32x$W", "int32_t"}, {"u32x$W", "uint32_t"},
  {"f64x$W", "double"},  {"i64x$W", "int64_t"}, {"u64x$W", "uint64_t"},
};

static int write_body(VecmathText *out, Span body, int width) {
  char lanes[8];
  snprintf(lanes, sizeof lanes, "%d", width);
  const char *end = body.at + body.length, *from = body.at;
  for (const char *at = from; at < end;) {
    const char *replacement = NULL;
    size_t skip = 0;
    if (end - at >= 2 && at[0] == '$' && at[1] == 'W') {
      replacement = lanes, skip = 2;
    } else if (width == 1 && end - at >= 6 && at[4] == '$') {
      for (size_t i = 0; i < sizeof one_lane_types / sizeof *one_lane_types; i++)
        if (memcmp(at, one_lane_types[i].lanes, 6) == 0)
          replacement = one_lane_types[i].plain, skip = 6;
    }
    if (!replacement) {
      at++;
      continue;
    }
    if (text_append(out, from, (size_t)(at - from)) != 0 ||
      text_append(out, replacement, strlen(replacement)) != 0)
      return -1;
    from = at += skip;
  }
  if (text_append(out, from, (size_t)(end - from)) != 0)
    return -1;
  return text_append(out, "\n\n", 2);
}

static int write_wanted(Template *t, VecmathText *out) {
  for (int s = 0; s < t->count; s++) {
    const Section *section = &t->sections[s];
    for (int bit = 0; bit < WIDTH_BITS; bit++)
      if (section->wanted >> bit & 1 && section->body.length > 0 &&
        write_body(out, section->body, 1 << bit) != 0)
        return template_fail(t, "vecmath: out of memory");
  }
  return 0;
}

int vecmath_expand(VecmathText *out, const char *template_text, const VecmathUse *uses, int n_uses,
                   char *error, size_t error_size) {
  Template t = {.error = error, .error_size = error_size};
  size_t length_before = out->length;
  int status = template_parse(&t, template_text);
  if (status == 0)
    status = want_uses(&t, uses, n_uses);
  if (status == 0)
    status = write_wanted(&t, out);
  if (status != 0 && out->data)
    out->data[out->length = length_before] = '\0';
  free(t.sections);
  return status;
}

int vecmath_has(const char *template_text, const char *name, int width) {
  Template t = {.error_size = 0};
  int bit = width_bit(width);
  int found = bit >= 0 && template_parse(&t, template_text) == 0 &&
        template_find(&t, (Span){name, strlen(name)}, bit, t.count) != NULL;
  free(t.sections);
  return found;
}
