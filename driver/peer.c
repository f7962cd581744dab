/* Starting peers, talking to them, and pinning to cores. See peer.h. */
#define _GNU_SOURCE                                            /* sched_setaffinity */
#include "driver/peer.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_SECONDS = 900, RUN_SECONDS = 300 };               /* importing, converting; a turn beyond its time */

int cores_pin(int n) {
#ifdef __linux__
  static cpu_set_t all;
  static bool known;
  if (!known && sched_getaffinity(0, sizeof all, &all)) return 0;
  known = true;
  cpu_set_t some;
  CPU_ZERO(&some);
  int taken = 0;
  for (int k = 0; k < CPU_SETSIZE && (!n || taken < n); k++)
    if (CPU_ISSET(k, &all)) { CPU_SET(k, &some); taken++; }
  DIR *tasks = opendir("/proc/self/task");                     // threads that run already keep their own mask
  bool ok = tasks != NULL;
  for (struct dirent *e; tasks && (e = readdir(tasks));)
    if (e->d_name[0] != '.') ok &= !sched_setaffinity(atoi(e->d_name), sizeof some, &some);
  if (tasks) closedir(tasks);
  return ok ? taken : 0;
#else
  (void)n;
  return 0;
#endif
}

/* ---- lines ---- */

/* The next line without its end; NULL when the peer ended or said nothing for so long. */
static const char *read_line(Peer *p, double seconds, Arena *a) {
  double until = seconds_now() + seconds;
  for (;;) {
    char *end = p->said.len ? memchr(p->said.at, '\n', p->said.len) : NULL;
    if (end) {
      size_t n = (size_t)(end - p->said.at), rest = p->said.len - n - 1;
      const char *line = arena_printf(a, "%.*s", (int)n, p->said.at);
      memmove(p->said.at, end + 1, rest);
      p->said.len = rest;
      return line;
    }
    struct pollfd f = {.fd = p->from, .events = POLLIN};
    double left = until - seconds_now();
    char piece[4096];
    if (left <= 0 || poll(&f, 1, (int)(left * 1000) + 1) == 0) { p->why = "gave no answer in time"; return NULL; }
    ssize_t n = read(p->from, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return NULL;
    text_bytes(&p->said, piece, (size_t)n);
  }
}

/* The last line of what it wrote to standard error. */
static const char *last_words(const char *log, Arena *a) {
  char why[300];
  size_t n;
  char *s = file_load(log, &n, why, sizeof why);
  if (!s) return "";
  while (n && (s[n - 1] == '\n' || s[n - 1] == ' ')) n--;
  size_t from = n;
  while (from && s[from - 1] != '\n' && n - from < 200) from--;
  const char *r = n ? arena_printf(a, ": %.*s", (int)(n - from), s + from) : "";
  free(s);
  return r;
}

static const char *end_words(Peer *p, const char *log, Arena *a) {
  int status = 0;
  while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR) continue;
  p->pid = 0;
  if (WIFSIGNALED(status)) return arena_printf(a, "ended by signal %d%s", WTERMSIG(status), last_words(log, a));
  return arena_printf(a, "ended with code %d%s", WEXITSTATUS(status), last_words(log, a));
}

/* ---- processes ---- */

static void become(const Peer *p, const PeerJob *job, int in, int out, const char *log) {
  setpgid(0, 0);                                               // ended as a group, with what it started
  signal(SIGPIPE, SIG_DFL);
  int err = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  dup2(in, 0);
  dup2(out, 1);
  if (err >= 0) dup2(err, 2);
  char threads[20];
  snprintf(threads, sizeof threads, "%d", job->threads);
  execlp(job->python, job->python, job->script, p->name, p->setting, job->model, job->dir, job->cache, threads,
         (char *)NULL);
  fprintf(stderr, "cannot run %s: %s\n", job->python, strerror(errno));
  _exit(127);
}

static bool launch(Peer *p, const PeerJob *job, const char *log) {
  int in[2], out[2];
  if (pipe(in)) return false;
  if (pipe(out)) { close(in[0]); close(in[1]); return false; }
  signal(SIGPIPE, SIG_IGN);
  fcntl(in[1], F_SETFD, FD_CLOEXEC);                            // the next peer must not hold this one's ends open
  fcntl(out[0], F_SETFD, FD_CLOEXEC);
  fflush(stdout);
  fflush(stderr);
  p->pid = fork();
  if (p->pid == 0) become(p, job, in[0], out[1], log);
  if (p->pid > 0) setpgid(p->pid, p->pid);                      // in both: whoever comes first
  close(in[0]);
  close(out[1]);
  p->to = in[1];
  p->from = out[0];
  return p->pid > 0;
}

bool peer_start(Peer *p, const PeerJob *job, Arena *a) {
  const char *log = arena_printf(a, "%s/%s.%s.log", job->dir, p->name, p->setting);
  p->why = NULL;
  if (!launch(p, job, log)) { p->why = arena_printf(a, "cannot be started: %s", strerror(errno)); return false; }
  const char *line = read_line(p, START_SECONDS, a);
  if (line && !strncmp(line, "ready ", 6)) p->version = line + 6;
  else if (line && !strncmp(line, "missing ", 8)) p->why = arena_printf(a, "not installed: pip install %s", line + 8);
  else if (line && !strncmp(line, "failed ", 7)) p->why = line + 7;
  else if (line) p->why = arena_printf(a, "answered '%.100s', which is no answer", line);
  else if (!p->why) p->why = end_words(p, log, a);
  if (!p->why) kill(-p->pid, SIGSTOP);
  return !p->why;
}

static bool take_times(Peer *p, const char *line, Arena *a) {
  if (strncmp(line, "times ", 6)) return false;
  char *end;
  int n = 0;
  for (const char *s = line + 6; *s; s = end, n++) {
    double v = strtod(s, &end);
    if (end == s) return false;
    *vec_push(a, n % 2 ? &p->got.cpu : &p->got.wall) = v;
    end += strspn(end, " ");
  }
  return n && n % 2 == 0;
}

bool peer_run(Peer *p, double seconds, Arena *a) {
  if (p->why) return false;
  char ask[60];
  int n = snprintf(ask, sizeof ask, "run %.6g\n", seconds);
  kill(-p->pid, SIGCONT);
  const char *line = write(p->to, ask, (size_t)n) == n ? read_line(p, seconds + RUN_SECONDS, a) : NULL;
  if (!line && !p->why) p->why = "ended while it was measured";
  if (line && !take_times(p, line, a)) p->why = arena_printf(a, "answered '%.100s', which is no times", line);
  if (!p->why) kill(-p->pid, SIGSTOP);
  return !p->why;
}

void peer_end(Peer *p) {
  if (p->pid > 0) {
    kill(-p->pid, SIGKILL);
    while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) continue;
  }
  if (p->to) close(p->to);
  if (p->from) close(p->from);
  text_free(&p->said);
  p->pid = p->to = p->from = 0;
}
