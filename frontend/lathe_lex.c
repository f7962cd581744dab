/* Text of the network language -> tokens; messages that show a place in it.
 *
 * Whatever the bytes are, the result is a list of tokens that ends with TOKEN_END: a byte that starts nothing is
 * reported and passed over. Offsets are bytes; columns count characters of UTF-8. */
#include "frontend/lathe_ast.h"
#include "base/intern.h"
#include "base/text.h"
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- messages ---- */

static Span line_around(const LatheText *t, int offset) {
  int a = offset, b = offset;
  while (a > 0 && t->at[a - 1] != '\n') a--;
  while ((size_t)b < t->size && t->at[b] != '\n') b++;
  if (b > a && t->at[b - 1] == '\r') b--;
  return (Span){a, b};
}

int lathe_line(const LatheText *t, int offset) {
  int line = 1;
  for (int i = 0; i < offset && (size_t)i < t->size; i++) line += t->at[i] == '\n';
  return line;
}

static int characters(const char *s, int from, int to) {
  int n = 0;
  for (int i = from; i < to; i++) n += (s[i] & 0xc0) != 0x80;
  return n;
}

/* The line as it is, below it spaces up to the column and ^~~~ under what is meant; of several lines, the first. */
static void put_caret(const LatheText *t, Span at) {
  Span line = line_around(t, at.start);
  int end = at.end < line.end ? at.end : line.end, cut = line.end - line.start > 200 ? line.start + 200 : line.end;
  if (at.start > cut) return;
  int before = characters(t->at, line.start, at.start), under = characters(t->at, at.start, end < cut ? end : cut);
  Text x = {0};
  text_printf(&x, "%*s^", before, "");
  for (int i = 1; i < under; i++) text_put(&x, "~");
  diag_note(t->d, "%.*s", cut - line.start, t->at + line.start);
  diag_note(t->d, "%s", x.at);
  text_free(&x);
}

static void report(const LatheText *t, bool warning, const char *kind, Span at, const char *fmt, va_list ap) {
  char text[1000], where[40];
  vsnprintf(text, sizeof text, fmt, ap);
  snprintf(where, sizeof where, "%d:%d", lathe_line(t, at.start),
      characters(t->at, line_around(t, at.start).start, at.start) + 1);
  if (warning) diag_warn(t->d, kind, where, "%s", text);
  else diag_error(t->d, kind, where, "%s", text);
  put_caret(t, at);
}

void lathe_error(const LatheText *t, const char *kind, Span at, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  report(t, false, kind, at, fmt, ap);
  va_end(ap);
}

void lathe_warn(const LatheText *t, const char *kind, Span at, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  report(t, true, kind, at, fmt, ap);
  va_end(ap);
}

const char *lathe_quote(const LatheText *t, Span at) {
  char out[104];
  int n = 0;
  bool space = false;
  for (int i = at.start; i < at.end; i++) {
    if (isspace((unsigned char)t->at[i])) { space = n > 0; continue; }
    if (n > 97 - (int)space) break;
    if (space) out[n++] = ' ';
    space = false;
    out[n++] = t->at[i];
  }
  return intern_n(out, (size_t)n);
}

/* ---- tokens ---- */

typedef struct Lexer { const LatheText *t; int at; Tokens out; int breaks; } Lexer;

static int peek_char(const Lexer *x, int ahead) {
  size_t i = (size_t)(x->at + ahead);
  return i < x->t->size ? (unsigned char)x->t->at[i] : 0;
}

static Token *push_token(Lexer *x, TokenKind kind, int start) {
  Token *k = vec_push(x->t->arena, &x->out);
  *k = (Token){.kind = kind, .at = {start, x->at}, .breaks = x->breaks};
  k->text = intern_n(x->t->at + start, (size_t)(x->at - start));
  x->breaks = 0;
  return k;
}

static bool is_word(int c) { return isalnum(c) || c == '_'; }

static void lex_number(Lexer *x) {
  int start = x->at;
  bool integral = true;
  while (isdigit(peek_char(x, 0)) || (peek_char(x, 0) == '_' && isdigit(peek_char(x, 1)))) x->at++;
  if (peek_char(x, 0) == '.' && isdigit(peek_char(x, 1))) {
    integral = false;
    do x->at++; while (isdigit(peek_char(x, 0)));
  }
  if (tolower(peek_char(x, 0)) == 'e') {
    int sign = peek_char(x, 1) == '-' || peek_char(x, 1) == '+';
    if (isdigit(peek_char(x, 1 + sign))) {
      integral = false;
      x->at += 1 + sign;
      while (isdigit(peek_char(x, 0))) x->at++;
    }
  }
  char *digits = arena_alloc(x->t->arena, (size_t)(x->at - start) + 1), *to = digits;
  for (int i = start; i < x->at; i++) if (x->t->at[i] != '_') *to++ = x->t->at[i];
  *to = 0;
  Token *k = push_token(x, TOKEN_NUMBER, start);
  k->number = strtod(digits, NULL);
  if (isinf(k->number)) lathe_error(x->t, "parse", k->at, "numbers end at 1.8e308");
  k->integral = integral && k->number < 9e15;
  if (is_word(peek_char(x, 0)))
    lathe_error(x->t, "parse", (Span){start, x->at + 1},
        "a name may not start with a digit, nor follow a number without a space");
}

static void lex_string(Lexer *x) {
  int start = x->at++;
  Text s = {0};
  while (peek_char(x, 0) && peek_char(x, 0) != '"' && peek_char(x, 0) != '\n') {
    int c = peek_char(x, 0);
    if (c == '\\' && strchr("nt\\\"", peek_char(x, 1)) && peek_char(x, 1)) {
      x->at++;
      c = peek_char(x, 0) == 'n' ? '\n' : peek_char(x, 0) == 't' ? '\t' : peek_char(x, 0);
    }
    char byte = (char)c;
    text_bytes(&s, &byte, 1);
    x->at++;
  }
  bool closed = peek_char(x, 0) == '"';
  x->at += closed;
  push_token(x, TOKEN_STRING, start)->text = intern_n(s.at ? s.at : "", s.len);
  if (!closed) lathe_error(x->t, "parse", (Span){start, start + 1}, "this string does not end on its line");
  text_free(&s);
}

static int mark_length(const Lexer *x) {
  static const char *const two[] = {"|>", "->", "==", "!=", "<=", ">=", "**"};
  int c = peek_char(x, 0);
  for (size_t i = 0; i < sizeof two / sizeof *two; i++)
    if (c == two[i][0] && peek_char(x, 1) == two[i][1]) return 2;
  return c && strchr("(){}[],:=+-*/<>.%@", c) ? 1 : 0;
}

static void lex_comment(Lexer *x, bool keep) {
  int start = x->at;
  while (peek_char(x, 0) && peek_char(x, 0) != '\n') x->at++;
  int end = x->at;
  while (end > start && isspace((unsigned char)x->t->at[end - 1])) end--;
  if (!keep) return;
  Token *k = push_token(x, TOKEN_COMMENT, start);
  k->at.end = end;
  k->text = intern_n(x->t->at + start, (size_t)(end - start));
}

Tokens lathe_lex(const LatheText *t, bool comments) {
  Lexer x = {.t = t};
  while ((size_t)x.at < t->size) {
    int c = peek_char(&x, 0), n;
    if (c == '\n') { x.breaks++; x.at++; }
    else if (isspace(c)) x.at++;
    else if (c == '#') lex_comment(&x, comments);
    else if (isdigit(c)) lex_number(&x);
    else if (c == '"') lex_string(&x);
    else if (isalpha(c) || c == '_') {
      int start = x.at;
      while (is_word(peek_char(&x, 0))) x.at++;
      push_token(&x, TOKEN_NAME, start);
    } else if ((n = mark_length(&x))) {
      x.at += n;
      push_token(&x, TOKEN_MARK, x.at - n);
    } else {
      int start = x.at++;
      while (((unsigned char)peek_char(&x, 0) & 0xc0) == 0x80) x.at++;
      if (c < 32 || c == 127)
        lathe_error(t, "parse", (Span){start, x.at}, "byte 0x%02x does not belong in a text", (unsigned)c);
      else lathe_error(t, "parse", (Span){start, x.at}, "'%.*s' means nothing here", x.at - start, t->at + start);
    }
  }
  push_token(&x, TOKEN_END, x.at);
  return x.out;
}
