/* Another runtime as a process: driver/peers.py says what is spoken with it. Between its turns a peer is stopped by
 * signal, so that threads of its pool that spin cannot take time from whoever is measured. */
#ifndef DRIVER_PEER_H
#define DRIVER_PEER_H
#include "driver/driver.h"
#include <sys/types.h>

typedef struct Samples { Numbers wall, cpu; } Samples;         /* milliseconds per call */

/* As peers.py takes them. */
typedef struct PeerJob { const char *python, *script, *model, *dir, *cache; int threads; } PeerJob;

typedef struct Peer {
  const char *name, *setting;        /* "mnn", "default" or "exact" */
  const char *version, *why;         /* why: it cannot be measured; NULL: it can */
  Samples got;
  pid_t pid;
  int to, from;
  Text said;                         /* what came after the last whole line */
} Peer;

/* Starts it and waits until it has computed the outputs; false: p->why. To be ended in either case. */
bool peer_start(Peer *p, const PeerJob *job, Arena *a);
bool peer_run(Peer *p, double seconds, Arena *a);              /* its turn: samples are added */
void peer_end(Peer *p);

/* All threads of this process, and processes it starts, on the first n cores that it may use; how many these are. 0:
 * not on this system. cores_pin(0): on all of them again. */
int cores_pin(int n);
#endif
