/* See onnx_names.h. */
#include "frontend/onnx_names.h"

static size_t slot_of(const NameMap *m, const char *name) {
  size_t h = (size_t)((uintptr_t)name >> 4) * (size_t)0x9e3779b97f4a7c15u & (m->slots - 1);
  while (m->at[h].name && m->at[h].name != name) h = (h + 1) & (m->slots - 1);
  return h;
}

bool names_find(const NameMap *m, const char *name, int64_t *value) {
  if (!m->slots) return false;
  size_t h = slot_of(m, name);
  if (!m->at[h].name) return false;
  *value = m->at[h].value;
  return true;
}

bool names_add(Arena *a, NameMap *m, const char *name, int64_t value) {
  if (m->used * 2 >= m->slots) {
    NameMap grown = {.slots = m->slots ? m->slots * 2 : 64};
    grown.at = arena_alloc(a, sizeof *grown.at * grown.slots);
    for (size_t i = 0; i < m->slots; i++)
      if (m->at[i].name) grown.at[slot_of(&grown, m->at[i].name)].name = m->at[i].name,
                         grown.at[slot_of(&grown, m->at[i].name)].value = m->at[i].value, grown.used++;
    *m = grown;
  }
  size_t h = slot_of(m, name);
  if (m->at[h].name) return false;
  m->at[h].name = name, m->at[h].value = value;
  m->used++;
  return true;
}
