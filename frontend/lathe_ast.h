/* The network language as a tree: what lathe_lex.c and lathe_parse.c make of a `.lathe` text.
 *
 * The grammar stands in docs/language.md. Line ends mean nothing, but for two rules that make statements end where a
 * reader sees them end: `(` and `[` continue an expression only on the line where it stands, and so do the words
 * of the data block's settings. Everything lives in the arena the parser was given; names are interned. */
#ifndef FRONTEND_LATHE_AST_H
#define FRONTEND_LATHE_AST_H
#include "base/diag.h"
#include "base/vec.h"
#include "ir/dtype.h"

/* ---- text ---- */

typedef struct Span { int start, end; } Span;                  /* bytes of the text */
typedef struct LatheText { const char *path, *at; size_t size; Arena *arena; Diags *d; } LatheText;

/* path: error[kind]: LINE:COLUMN: message, the line itself, and a caret under the span. diag_note adds to it. */
void lathe_error(const LatheText *t, const char *kind, Span at, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
void lathe_warn(const LatheText *t, const char *kind, Span at, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
int lathe_line(const LatheText *t, int offset);
const char *lathe_quote(const LatheText *t, Span at);
    /* the text of a span on one line, cut at 100 bytes; interned */

/* ---- tokens ---- */

typedef enum { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_STRING, TOKEN_MARK, TOKEN_COMMENT } TokenKind;
typedef struct Token {
  TokenKind kind;
  Span at;
  const char *text;             /* name, mark, or contents of a string; interned */
  double number;
  bool integral;                /* a number without point and exponent */
  int breaks;                   /* line ends before it */
} Token;
typedef VEC(Token) Tokens;
/* Comments only where `comments`. The last one is TOKEN_END. Errors are in t->d. */
Tokens lathe_lex(const LatheText *t, bool comments);

/* ---- the tree ---- */

typedef enum {
  TERM_NUMBER, TERM_STRING, TERM_BOOL,
  TERM_NAME,                    /* text */
  TERM_CALL,                    /* text(args): a function, a net; `fresh`: new text(args) */
  TERM_UNARY, TERM_BINARY,      /* text is the operator; a, b */
  TERM_TUPLE,                   /* (items) or [items] */
  TERM_INDEX,                   /* a[items], each a number, a tensor or a slice */
  TERM_SLICE                    /* a : b, either may be NULL */
} TermKind;

typedef struct Term Term;
typedef VEC(Term *) Terms;
typedef struct Arg { const char *name; Term *value; Span at; } Arg;     /* name NULL: by position */
struct Term {
  TermKind kind;
  Span at;
  const char *text;
  double number;
  bool integral, fresh, truth;
  bool piped;                   /* args.at[0] stood left of |> */
  Term *a, *b;
  Terms items;
  VEC(Arg) args;
};

/* f32[N, 1, 28, 28]; or a plain kind of value: int, float, bool, str */
typedef enum { TYPE_TENSOR, TYPE_INT, TYPE_FLOAT, TYPE_BOOL, TYPE_STR } TypeKind;
typedef struct TypeTerm { TypeKind kind; DType dtype; Terms dims; Span at; } TypeTerm;

typedef enum { STATEMENT_ASSIGN, STATEMENT_RETURN, STATEMENT_REPEAT, STATEMENT_REPORT, STATEMENT_MINIMIZE,
    STATEMENT_FREEZE } StatementKind;
typedef struct Statement Statement;
typedef VEC(Statement *) Statements;
typedef struct Word { const char *text; Span at; } Word;
typedef VEC(Word) Words;
typedef struct Group { Words over; Term *with; } Group;         /* over: nets and layers; empty: all */
struct Statement {
  StatementKind kind;
  Span at;
  Words names;                  /* ASSIGN: targets; REPEAT: the counter, if any; FREEZE: what */
  Term *value;                  /* ASSIGN, REPEAT (how often), REPORT, MINIMIZE (the loss) */
  Terms results;                /* RETURN */
  VEC(Group) groups;            /* MINIMIZE: [over A, B.c] with adam(…) [over … with …] */
  Statements body;                   /* REPEAT */
};

typedef struct ParamDecl { Word name; TypeTerm *type; Term *value; } ParamDecl;    /* value: default, or NULL */
typedef struct NetDecl {
  Word name;
  VEC(ParamDecl) params;
  VEC(TypeTerm *) results;      /* empty: not said */
  Statements body;
  Term *from;                   /* net NAME = from; then there is no body */
  Span at;
} NetDecl;
typedef struct StepDecl { Word name; bool named, trains; Statements body; Span at; } StepDecl;
typedef struct LetDecl { Word name; Term *value; } LetDecl;
typedef struct Setting { Word name; Term *value; } Setting;     /* batch 64, shuffle, hold_out 10% (0.1), epochs 5 */
typedef struct DataDecl {
  bool there;
  Span at;
  VEC(ParamDecl) columns;       /* type NULL: from the file */
  VEC(Setting) settings;
} DataDecl;

typedef struct LatheFile {
  VEC(LetDecl) lets;
  VEC(NetDecl *) nets;
  VEC(StepDecl *) steps;
  DataDecl data;
} LatheFile;

LatheFile *lathe_parse(const LatheText *t);                     /* never NULL; errors are in t->d */
#endif
