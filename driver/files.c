/* Emitted files on disk: folders for them, writing and removing them, and whether -o can be written at all. And strings
 * as JSON writes them. */
#include "driver/driver.h"
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

const char *json_quoted(Arena *a, const char *s) {
  Text t = {0};
  text_put(&t, "\"");
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') text_printf(&t, "\\%c", *s);
    else if ((unsigned char)*s < 32) text_printf(&t, "\\u%04x", (unsigned)(unsigned char)*s);
    else text_bytes(&t, s, 1);
  }
  text_put(&t, "\"");
  const char *r = arena_strdup(a, t.at);
  text_free(&t);
  return r;
}

bool make_dirs(const char *path) {
  char s[1000];
  snprintf(s, sizeof s, "%s", path);
  for (char *q = s + 1; *q; q++)
    if (*q == '/') { *q = 0; mkdir(s, 0777); *q = '/'; }
  return mkdir(s, 0777) == 0 || errno == EEXIST;
}

/* Something that is there and in the way, or a folder that nothing can be put into. */
static bool output_is(const char *path, bool folder) {
  char dir[1000];
  struct stat s;
  bool there = stat(path, &s) == 0;
  if (there && S_ISDIR(s.st_mode) != folder) {
    fprintf(stderr, "lathe: error[io]: cannot write %s: it is %s; -o names %s\n", path,
            folder ? "a file" : "a folder", folder ? "a folder" : "a file");
    return false;
  }
  snprintf(dir, sizeof dir, "%s", path);
  while (!(there && folder)) {       // up to the folder that is written first: folders on the way are made
    char *slash = strrchr(dir, '/');
    if (!slash) strcpy(dir, ".");
    else if (slash == dir) dir[1] = 0;
    else *slash = 0;
    if (!folder || stat(dir, &s) == 0) break;
  }
  bool is_folder = stat(dir, &s) != 0 || S_ISDIR(s.st_mode);
  if (is_folder && access(dir, W_OK | X_OK) == 0) return true;
  fprintf(stderr, "lathe: error[io]: cannot write %s: %s: %s\n", path, dir, strerror(is_folder ? errno : ENOTDIR));
  return false;
}

bool output_is_file(const char *path) { return output_is(path, false); }
bool output_is_folder(const char *path) { return output_is(path, true); }

bool files_write(const EmitFiles *f, const char *dir, Diags *d) {
  if (!make_dirs(dir)) {
    diag_error(d, "io", NULL, "cannot make the directory %s: %s", dir, strerror(errno));
    return false;
  }
  for (int i = 0; i < f->at.len; i++) {
    const EmitFile *x = &f->at.at[i];
    char path[1200], why[300];
    snprintf(path, sizeof path, "%s/%s", dir, x->name);
    bool ok = x->pieces ? pieces_save(x->piece, x->pieces, path, why, sizeof why)
                        : file_save(x->data, x->size, path, why, sizeof why);
    if (!ok) { diag_error(d, "io", NULL, "%s", why); return false; }
  }
  return true;
}

void files_remove(const EmitFiles *f, const char *dir) {
  Arena a = {0};
  for (int i = 0; i < f->at.len; i++) unlink(arena_printf(&a, "%s/%s", dir, f->at.at[i].name));
  rmdir(dir);
  arena_free(&a);
}

void folder_remove(const char *dir) {
  Arena a = {0};
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    const char *path = arena_printf(&a, "%s/%s", dir, e->d_name);
    if (unlink(path)) folder_remove(path);
  }
  if (d) closedir(d);
  rmdir(dir);
  arena_free(&a);
}
