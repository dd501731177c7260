/*
 * Replication of one partition, for Spin: what an acknowledged entry may rely on.
 *
 * The numbers of the rules are those of ARCHITECTURE.md, "Rules of safety"; T1 to T4 are the
 * changes of the record (promote, shrink, expand, retarget). Tests/Model/run checks this file,
 * README.md beside it says what was seen.
 *
 * A model is worth what it leaves out without harm. Left out here, and why nothing is lost by
 * it:
 *
 * - Time. Suspicion, lag and timeouts are choices: any replica may suspect any other at any
 *   moment.
 * - Loss, repetition and reordering. A message that was sent stays deliverable for ever, and
 *   nothing must be delivered: the network is a set that only grows. What the leader of an epoch
 *   sends is its log, which it only extends, so `sent[e]` is the set of all appends of epoch e;
 *   acknowledgements are cumulative, so the highest one stands for all.
 * - The moment at which a leader takes an acknowledgement. It may act on it late or never.
 * - Being down. A process that is down is one that does nothing; a crash is its restart.
 * - Boot ids. A boot is never met again, so all that counts is whether the process that asked is
 *   still the one that runs: one bit, cleared by a crash.
 * - Revisions. A compare-and-set lands only on the revision that its author has seen, so of all
 *   that are under way on one revision at most one lands: `asked` holds the one that may. The
 *   others are lost, whether late, refused or never sent. What is asked for on an older view
 *   cannot land and widens its author's quorum set at most, so authors ask on a current view
 *   only.
 * - What followers know of the record. A follower here follows any epoch that is not below its
 *   promise, which allows more than a program that also wants to find that epoch in the record.
 * - A follower's commit index. Nothing depends on it but a stop (rule 7), which is for logs that
 *   went wrong: the leaders of all later epochs are asserted to hold what was committed, so none
 *   of them makes a follower remove what an earlier one told it to be committed.
 * - Reads that cannot be stale. Only a read at a leader that lacks what was acknowledged when it
 *   arrived can become wrong, so only those are followed up.
 *
 * Rules without a switch here: 11 (what `apply` does with an entry is not in the model; all logs
 * being equal is its premise), R2 (a snapshot being installed is not; that a committed prefix
 * never changes is asserted), the part of rule 8 that reads the record anew before it refuses
 * and the part of rule 2 that asks again (both for progress only: without them less happens),
 * and the comparison of logs after a restart (no disk here loses what was synced).
 */

/* --- How large */

#ifndef STORES
#define STORES 2
#endif
#ifndef MIN_IN_SYNC
#define MIN_IN_SYNC 1
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef COMMANDS
#define COMMANDS 2
#endif
#ifndef RETARGETS
#define RETARGETS 2
#endif

/* Every epoch begins with an entry of its own. */
#define LOG_MAX 5
/* Replica ids: one for each store, and one for a store that comes back as somebody else. */
#define SPARE (STORES + 1)
#define EVERYBODY ((1 << STORES) - 1)

/* --- Logs: four bits for each entry, the first one lowest: the epoch, and what it holds */

#define PREFIX(i) ((1 << (4 * (i))) - 1)
#define ENTRY(log, i) (((log) >> (4 * (i) - 4)) & 15)
#define EPOCH_OF(log, i) (((log) >> (4 * (i) - 2)) & 3)
#define LENGTH(log) \
  (((log) > 0) + ((log) > 15) + ((log) > 255) + ((log) > 4095) + ((log) > 65535))
#define AGREE(log, other, i) ((((log) ^ (other)) & PREFIX(i)) == 0)
/* The same name, (epoch, index); nothing stands before the first entry. */
#define SAME_NAME(log, other, i) ((i) == 0 || EPOCH_OF(log, i) == EPOCH_OF(other, i))
#define APPENDED(log, entry) ((log) | ((entry) << (4 * LENGTH(log))))
#define EPOCH_START(e) ((e) << 2)
#define COMMAND(e, number) (((e) << 2) | (number))

/* --- Sets of replicas, by id from 1 */

#define ONE(r) (1 << ((r) - 1))
#define HAS(set, r) (((set) & ONE(r)) != 0)
#define SIZE(set) (((set) & 1) + (((set) >> 1) & 1) + (((set) >> 2) & 1) + (((set) >> 3) & 1))
#define HOME(r) ((r) == SPARE -> spareHome : (r) - 1)

/* --- Stores. All but the first three lines is lost by a crash. */

byte replica[STORES]; /* the life of the partition that this store holds, or 0 */
int disk[STORES];
byte promiseOnDisk[STORES];

int log[STORES];
byte promise[STORES];
#define FOLLOWS 0
#define ASSUMES 1 /* the promise to its own epoch is not durable yet */
#define LEADS 2
byte role[STORES];
byte won[STORES]; /* an epoch that the record gave to this process, which has not seen it yet */
byte committed[STORES];
byte start[STORES]; /* where its epoch began */
byte known[STORES]; /* the in-sync set of the record as it knows it */
byte proposed[STORES]; /* and the one that it asked for, unresolved, or 0 */
byte unseen[STORES]; /* the last in-sync set of its epoch, when it has not seen it and is deposed */
bool isCurrent[STORES]; /* it knows the newest revision */

/* --- The record, and the one change of it that may land on this revision */

byte epoch = 1;
byte leader = 1;
bool isLeaderRunning = true; /* the process that `leaderBoot` names */
byte inSync;
byte target = EVERYBODY;
byte spareHome = STORES; /* the store of the spare id; STORES: not given out */
byte retargets;

byte asked; /* the in-sync set, or 0 */
byte askedBy; /* who wants to lead; 0 for a shrink or an expansion by the leader */
bool isAskerRunning;

/* --- The network */

int sent[EPOCHS + 1];
byte sentBy[EPOCHS + 1];
byte sentTo[EPOCHS + 1];
int acknowledged[EPOCHS + 1]; /* four bits for each replica */
#define ACKNOWLEDGED(e, r) ((acknowledged[e] >> (4 * (r) - 4)) & 15)

/* --- What nobody in the system sees: everything that a client was told is safe */

int history;
byte historyLength;
byte commands;
byte readAt; /* the store of the read in flight, from 1, or 0 */
byte unconfirmed;
bool isReadStale;

/* --- The rules, each with its switch */

/* Rule 1: the leader's own disk, and everybody in the quorum set. */
#ifdef BREAK_RULE_1_DISK
#define IS_HELD(s, i) true
#else
#define IS_HELD(s, i) IS_DURABLE(s, i)
#endif
#ifdef BREAK_RULE_1_UNION
#define QUORUM(s) (known[s])
#else
#define QUORUM(s) (known[s] | proposed[s])
#endif
#ifdef BREAK_RULE_1
#define HELD_BY(s, r, i) true
#else
#define HELD_BY(s, r, i) \
  (!HAS(QUORUM(s), r) || (r) == replica[s] || COUNTED(promise[s], r) >= (i))
#endif
#if STORES == 2
#define IS_COMMITTED(s, i) (HELD_BY(s, 1, i) && HELD_BY(s, 2, i) && HELD_BY(s, 3, i))
#else
#define IS_COMMITTED(s, i) \
  (HELD_BY(s, 1, i) && HELD_BY(s, 2, i) && HELD_BY(s, 3, i) && HELD_BY(s, 4, i))
#endif

/* Rule 9: a failed fsync is not taken for done. (Whoever stops instead does nothing more until it
   starts again.) */
#ifdef BREAK_RULE_9
bool isDeceived[STORES];
#define IS_DURABLE(s, i) (isDeceived[s] || AGREE(log[s], disk[s], i))
#else
#define IS_DURABLE(s, i) AGREE(log[s], disk[s], i)
#endif

/* Rule 3: what a follower says that it holds. */
#ifdef BREAK_RULE_3_DURABLE
#define IS_SYNCED(s, i) true
#else
#define IS_SYNCED(s, i) IS_DURABLE(s, i)
#endif
#ifdef BREAK_RULE_3_MATCHED
#define IS_ACKNOWLEDGEABLE(s, e, i) \
  (EPOCH_OF(sent[e], i) != 0 && EPOCH_OF(log[s], i) != 0 && IS_SYNCED(s, i))
#else
#define IS_ACKNOWLEDGEABLE(s, e, i) \
  (EPOCH_OF(sent[e], i) != 0 && SAME_NAME(log[s], sent[e], i) && IS_SYNCED(s, i))
#endif

/* Rule 4: a promise is durable before anything is said under it. */
#ifdef BREAK_RULE_4
#define IS_PROMISED(s) true
#define KEEP_PROMISE(s) skip
#else
#define IS_PROMISED(s) (promiseOnDisk[s] == promise[s])
#define KEEP_PROMISE(s) promiseOnDisk[s] = promise[s]
#endif

/* Rule 5: what a learner must hold. A fresh leader does not know what was committed before it. */
#ifdef BREAK_RULE_5
#define MAY_JOIN(s, r) true
#else
#ifdef BREAK_RULE_5_START
#define MAY_JOIN(s, r) (COUNTED(promise[s], r) >= committed[s])
#else
#define MAY_JOIN(s, r) \
  (COUNTED(promise[s], r) >= committed[s] && COUNTED(promise[s], r) >= start[s])
#endif
#endif

/* Rule 6: a process does not take up what another one won. Who does may still refuse the answers to
   the other one; with BREAK_BOOT_IDS no boots are compared at all. */
#if defined(BREAK_RULE_6) || defined(BREAK_BOOT_IDS)
#define RESUMES
#endif

/* Rule 7: the entry before must be the leader's. */
#ifdef BREAK_RULE_7
#define MATCHES(s, e, i) (LENGTH(log[s]) >= (i))
#else
#define MATCHES(s, e, i) SAME_NAME(log[s], sent[e], i)
#endif

/* Rule 8: lower epochs are refused, and so are answers from earlier ones. */
#ifdef BREAK_RULE_8
#define IS_FOLLOWED(s, e) (promise[s] >= (e) && role[s] == FOLLOWS)
#else
#define IS_FOLLOWED(s, e) (promise[s] == (e) && role[s] == FOLLOWS)
#endif
#ifdef BREAK_RULE_8_ANSWERS
#define COUNTED(e, r) \
  (ACKNOWLEDGED(e, r) > ACKNOWLEDGED((e) - 1, r) -> ACKNOWLEDGED(e, r) : ACKNOWLEDGED((e) - 1, r))
#else
#define COUNTED(e, r) ACKNOWLEDGED(e, r)
#endif

/* Rule 10, and what it rests on: no change of the record leaves fewer than the minimum. */
#ifdef BREAK_RULE_10
#define MAY_SERVE(s) true
#else
#define MAY_SERVE(s) (SIZE(known[s]) >= MIN_IN_SYNC && committed[s] >= start[s])
#endif
#ifdef BREAK_MINIMUM
#define FEWEST 1
#else
#define FEWEST MIN_IN_SYNC
#endif

/* R1: the start of the epoch is committed; everybody in the quorum set confirms. */
#ifdef BREAK_R1_START
#define MAY_READ(s) true
#else
#define MAY_READ(s) (committed[s] >= start[s])
#endif
#ifdef BREAK_R1
#define MUST_CONFIRM(s) 0
#else
#ifdef BREAK_R1_UNION
#define MUST_CONFIRM(s) (known[s] & ~ONE(replica[s]))
#else
#define MUST_CONFIRM(s) (QUORUM(s) & ~ONE(replica[s]))
#endif
#endif
/* A read joins a round that has begun before it arrived, or is served by a read of the record that
   was over by then. */
#if defined(BREAK_R1_ROUND) || defined(BREAK_R1_RECORD)
#define EARLIER_COUNTS
#endif

/* A store deletes a replica only when the record lists it nowhere. */
#ifdef BREAK_DELETION
#define LISTED target
#else
#define LISTED (inSync | target)
#endif

/* --- What must happen somewhere: REACH, set to one of these, makes it an error */

#define PROMOTED 1 /* another replica than the leader's leads */
#define PROMOTED_LATE 2 /* after the process that asked for it ended */
#define SHRUNK 3
#define EXPANDED 4
#define CHANGED_LATE 5 /* a shrink or an expansion whose author leads no more */
#define CHANGED_UNSEEN 6 /* its author learns of it after it was deposed */
#define RETARGETED 7
#define DELETED 8 /* of a replica that the record lists nowhere */
#define REBUILT 9 /* a store is in sync again as somebody else */
#define TRUNCATED 10
#define WRITE_LOST 11 /* a leader's entry after the start of its epoch */
#define COMMITTED_BY_TWO 12 /* a client's command */
#define COMMITTED_BY_ALL 13 /* the last command, by every store */
#define COMMITTED_INHERITED 14 /* entries of an earlier epoch, with the start of a later one */
#define COMMITTED_DEPOSED 15 /* by a leader that another one has replaced */
#define READ_BY_ROUND 16
#define READ_BY_RECORD 17
#define READ_IN_DANGER 18 /* at a leader that lacks what was acknowledged */
#ifndef REACH
#define REACH 0
#endif
#define REACHED(event, what) assert(REACH != event || !(what))
#if defined(EARLIER_COUNTS) || REACH == READ_BY_ROUND || REACH == READ_BY_RECORD
#define IS_READ_FOLLOWED_UP(s) true
#else
#define IS_READ_FOLLOWED_UP(s) (committed[s] < historyLength)
#endif

/* --- Properties */

/* What is no harm by itself but must hold on the way: a name has one entry, and nobody goes back on
   a promise. Without these a broken rule is found only where it loses something. */
#ifdef ONLY_HARM
#define MUST(what) skip
#else
#define MUST(what) assert(what)
#endif
#define SPOKE_ABOVE(e, r) \
  (((e) < EPOCHS && ACKNOWLEDGED((e) % EPOCHS + 1, r) != 0) || \
    ((e) + 1 < EPOCHS && ACKNOWLEDGED(((e) + 1) % EPOCHS + 1, r) != 0))

/* Whatever was acknowledged lies on the disk of every in-sync replica, any of which may lead. */
inline checkInSync() {
  i = 1;
  do
  :: i <= SPARE ->
    if
    :: HAS(inSync, i) ->
      assert(historyLength == 0 || replica[HOME(i)] == i);
      assert(AGREE(disk[HOME(i)], history, historyLength))
    :: else
    fi;
    i++
  :: else -> break
  od;
  i = 0
}

/* --- Steps that belong to others */

/* Gives leadership up. Acknowledgements of its epoch mean nothing any more: with rule 6, no other
   process leads it. */
inline stepDown(s) {
  if
  :: role[s] != FOLLOWS ->
#if !defined(BREAK_BOOT_IDS) && !defined(BREAK_RULE_8_ANSWERS)
    acknowledged[promise[s]] = 0;
#endif
    role[s] = FOLLOWS;
    committed[s] = 0;
    start[s] = 0;
    known[s] = 0;
    proposed[s] = 0;
    unseen[s] = 0;
    isCurrent[s] = false;
    if
    :: readAt == s + 1 -> readAt = 0; unconfirmed = 0; isReadStale = false
    :: else
    fi
  :: else
  fi
}

/* What it won and did not see is behind it. */
inline forgetWon(s) {
  if
  :: won[s] != 0 -> won[s] = 0; known[s] = 0; isCurrent[s] = false
  :: else
  fi
}

/* The process ends and another one starts with what the disk holds. */
inline restart(s) {
  stepDown(s);
  forgetWon(s);
  log[s] = disk[s];
  promise[s] = promiseOnDisk[s];
#ifdef BREAK_RULE_9
  isDeceived[s] = false;
#endif
  if
  :: leader == replica[s] -> isLeaderRunning = false
  :: else
  fi;
  if
  :: askedBy == replica[s] -> isAskerRunning = false
  :: else
  fi
}

inline revisionMoved() {
  asked = 0;
  askedBy = 0;
  isAskerRunning = false;
  i = 0;
  do
  :: i < STORES -> isCurrent[i] = false; i++
  :: else -> break
  od;
  i = 0
}

/* --- A replica follows */

#define IS_SENT(s, e) (sent[e] != 0 && replica[s] != 0 && HAS(sentTo[e], replica[s]) \
  && sentBy[e] != replica[s])
#define IS_LED(e) (sentBy[e] != 0 && role[HOME(sentBy[e])] == LEADS \
  && promise[HOME(sentBy[e])] == (e) && replica[HOME(sentBy[e])] == sentBy[e])

/* What can reach nobody any more is forgotten, so that histories that differ in it only are one. A
   later life of a replica is not who it was sent to. */
#ifdef BREAK_RULE_8
#define FORGET_SENT skip
#else
#define FORGET_SENT forgetSent()
#endif
inline forgetSent() {
  i = 1;
  do
  :: i < epoch ->
    j = 0;
    do
    :: j < STORES && !(sent[i] != 0 && IS_SENT(j, i) && promiseOnDisk[j] <= i) -> j++
    :: else -> break
    od;
    if
    :: j == STORES && sent[i] != 0 -> sent[i] = 0; sentTo[i] = 0; sentBy[i] = 0
    :: else
    fi;
    i++
  :: else -> break
  od;
  i = 0;
  j = 0
}

/* What a follower has written but not synced binds nobody: it says nothing about it, and what it
   was sent can still reach it after a crash. So a write that a crash takes back is as good as a
   message that did not come, and a follower may as well write and sync in one step: that saves
   states. A leader's own entries are seen by others before they are synced, in both ways. */
#ifdef FOLLOWERS_SYNC_AT_ONCE
#define SYNC_AT_ONCE sync(s)
#else
#define SYNC_AT_ONCE skip
#endif

inline sync(s) {
  MUST(promise[s] >= promiseOnDisk[s]);
  disk[s] = log[s];
  KEEP_PROMISE(s);
  FORGET_SENT;
  checkInSync()
}

/* Rule 4: any message of a higher epoch. */
#define HEAR(e) \
  :: d_step { promise[s] < (e) && IS_SENT(s, e) -> \
    printf("store %d hears of epoch %d\n", s, e); \
    stepDown(s); \
    if :: won[s] < (e) -> forgetWon(s) :: else fi; \
    promise[s] = (e); \
    SYNC_AT_ONCE }

/* Rule 7: an append of the entry after `i`. */
#define RECEIVE(e, i) \
  :: d_step { IS_FOLLOWED(s, e) && IS_SENT(s, e) && EPOCH_OF(sent[e], (i) + 1) != 0 \
    && MATCHES(s, e, i) && !SAME_NAME(log[s], sent[e], (i) + 1) -> \
    printf("store %d takes entry %d of epoch %d\n", s, (i) + 1, e); \
    REACHED(TRUNCATED, LENGTH(log[s]) > (i)); \
    log[s] = (log[s] & PREFIX(i)) | (ENTRY(sent[e], (i) + 1) << (4 * (i))); \
    SYNC_AT_ONCE }

/* Rule 3: the highest index that may be acknowledged. */
#define ACKNOWLEDGE(e, i) \
  :: d_step { IS_FOLLOWED(s, e) && IS_SENT(s, e) && IS_LED(e) && IS_PROMISED(s) \
    && IS_ACKNOWLEDGEABLE(s, e, i) && !IS_ACKNOWLEDGEABLE(s, e, (i) + 1) \
    && ACKNOWLEDGED(e, replica[s]) < (i) -> \
    printf("store %d acknowledges entry %d of epoch %d\n", s, i, e); \
    MUST(AGREE(log[s], sent[e], i)); \
    MUST(!SPOKE_ABOVE(e, replica[s])); \
    acknowledged[e] = (acknowledged[e] & ~(15 << (4 * replica[s] - 4))) \
      | ((i) << (4 * replica[s] - 4)) }

#define FOLLOW(e) \
  HEAR(e) \
  RECEIVE(e, 0) RECEIVE(e, 1) RECEIVE(e, 2) RECEIVE(e, 3) RECEIVE(e, 4) \
  ACKNOWLEDGE(e, 1) ACKNOWLEDGE(e, 2) ACKNOWLEDGE(e, 3) ACKNOWLEDGE(e, 4) ACKNOWLEDGE(e, 5)

/* --- A replica leads */

/* Rule 1. */
#define COMMIT(i) \
  :: d_step { role[s] == LEADS && committed[s] < (i) && start[s] <= (i) \
    && LENGTH(log[s]) >= (i) && IS_HELD(s, i) && IS_COMMITTED(s, i) -> \
    commitThrough(s, i) }

inline commitThrough(s, index) {
  printf("store %d commits through %d in epoch %d\n", s, index, promise[s]);
  committed[s] = index;
  REACHED(COMMITTED_BY_TWO, SIZE(QUORUM(s)) == 2 && (ENTRY(log[s], index) & 3) != 0);
  REACHED(COMMITTED_BY_ALL, SIZE(QUORUM(s)) == STORES && (ENTRY(log[s], index) & 3) == COMMANDS);
  REACHED(COMMITTED_DEPOSED, epoch > promise[s]);
  REACHED(COMMITTED_INHERITED, historyLength + 1 < start[s]);
  if
  :: index <= historyLength -> assert(AGREE(log[s], history, index))
  :: else ->
    /* Commits never change. */
    assert(AGREE(log[s], history, historyLength));
    j = historyLength + 1;
    do
    :: j <= index && (ENTRY(log[s], j) & 3) == 0 -> j++
    :: else -> break
    od;
    history = log[s] & PREFIX(index);
    historyLength = index;
    if
    :: j <= index ->
      /* A client's command is on as many disks as were promised. */
      i = 0;
      j = 0;
      do
      :: i < STORES ->
        if
        :: AGREE(disk[i], history, historyLength) -> j++
        :: else
        fi;
        i++
      :: else -> break
      od;
      assert(j >= MIN_IN_SYNC)
    :: else
    fi;
    j = 0
  fi;
  /* Every later leader has it. */
  i = promise[s] + 1;
  do
  :: i <= EPOCHS -> assert(sent[i] == 0 || AGREE(sent[i], log[s], index)); i++
  :: else -> break
  od;
  checkInSync()
}

/* T2 and T3: what it asks for, and rule 5. */
#define SHRINK(r) \
  :: d_step { role[s] == LEADS && isCurrent[s] && proposed[s] == 0 && HAS(known[s], r) \
    && (r) != replica[s] && SIZE(known[s]) > FEWEST -> \
    printf("store %d proposes to take out replica %d\n", s, r); \
    proposed[s] = known[s] & ~ONE(r) }
#define EXPAND(r) \
  :: d_step { role[s] == LEADS && isCurrent[s] && proposed[s] == 0 && !HAS(known[s], r) \
    && HAS(target, r) && MAY_JOIN(s, r) -> \
    printf("store %d proposes to take in replica %d\n", s, r); \
    proposed[s] = known[s] | ONE(r) }

/* T1: with any of the others left out. */
#define PROMOTE(set) \
  :: d_step { asked == 0 && epoch < EPOCHS && replica[s] != 0 && role[s] == FOLLOWS \
    && HAS(inSync, replica[s]) && !(leader == replica[s] && isLeaderRunning) \
    && ((set) & ~inSync) == 0 && HAS(set, replica[s]) \
    && ((set) == inSync || SIZE(set) >= FEWEST) -> \
    printf("store %d asks to lead epoch %d with set %d\n", s, epoch + 1, set); \
    forgetWon(s); \
    asked = (set); \
    askedBy = replica[s]; \
    isAskerRunning = true }

#define CONFIRM \
  :: d_step { readAt != 0 && readAt != s + 1 && replica[s] != 0 && HAS(unconfirmed, replica[s]) \
    && role[s] == FOLLOWS && promise[s] == promise[readAt - 1] && IS_PROMISED(s) -> \
    printf("store %d confirms the read's round\n", s); \
    unconfirmed = unconfirmed & ~ONE(replica[s]); \
    REACHED(READ_BY_ROUND, unconfirmed == 0); \
    assert(unconfirmed != 0 || !isReadStale); \
    ROUND_ENDS }
#ifdef BREAK_R1_RECORD
#define ROUND_ENDS if :: unconfirmed == 0 -> readAt = 0 :: else fi
#else
#define ROUND_ENDS skip
#endif

proctype Store(byte s) {
  byte i, j;
end:
  do
  FOLLOW(1)
#if EPOCHS > 1
  FOLLOW(2)
#endif
#if EPOCHS > 2
  FOLLOW(3)
#endif

  /* One fsync for all that waits: what is written later is lost by a crash before the next. */
  :: d_step { log[s] != disk[s] || (promise[s] != promiseOnDisk[s] && !IS_PROMISED(s)) ->
    printf("store %d syncs\n", s);
    sync(s) }
#ifdef BREAK_RULE_9
  :: d_step { log[s] != disk[s] && !isDeceived[s] ->
    printf("store %d fails to sync\n", s);
    isDeceived[s] = true }
#endif

  :: d_step { role[s] != FOLLOWS || won[s] != 0 || log[s] != disk[s] ||
      promise[s] != promiseOnDisk[s] || (leader == replica[s] && isLeaderRunning) ||
      (askedBy == replica[s] && isAskerRunning) ->
    printf("store %d crashes and starts\n", s);
    REACHED(WRITE_LOST, role[s] == LEADS && LENGTH(log[s]) > LENGTH(disk[s]) + 1);
    restart(s);
#ifdef RESUMES
    if
    :: leader == replica[s] && epoch >= promise[s] ->
      won[s] = epoch;
      known[s] = inSync;
      isCurrent[s] = true
    :: else
    fi
#endif
    skip }

  /* Rule 6: the record names this process as the leader of an epoch that it has not led. */
  :: d_step { role[s] == FOLLOWS && won[s] != 0 ->
    printf("store %d takes up epoch %d\n", s, won[s]);
    promise[s] = won[s];
    won[s] = 0;
    role[s] = ASSUMES;
    SYNC_AT_ONCE }
  :: d_step { role[s] == ASSUMES && IS_PROMISED(s) ->
    printf("store %d starts epoch %d at %d\n", s, promise[s], LENGTH(log[s]) + 1);
    role[s] = LEADS;
    log[s] = APPENDED(log[s], EPOCH_START(promise[s]));
    start[s] = LENGTH(log[s]);
    assert(epoch != promise[s] || AGREE(log[s], history, historyLength));
    sent[promise[s]] = log[s] }

  :: d_step { role[s] == LEADS && MAY_SERVE(s) && commands < COMMANDS ->
    commands++;
    printf("store %d appends command %d in epoch %d\n", s, commands, promise[s]);
    log[s] = APPENDED(log[s], COMMAND(promise[s], commands));
    if
    :: sentTo[promise[s]] != 0 -> sent[promise[s]] = log[s]
    :: else
    fi }
  COMMIT(1) COMMIT(2) COMMIT(3) COMMIT(4) COMMIT(5)

  SHRINK(1) SHRINK(2) SHRINK(3)
  EXPAND(1) EXPAND(2) EXPAND(3)
#if STORES == 3
  SHRINK(4)
  EXPAND(4)
#endif
  /* Sent, or sent again: what was lost before came to nothing (rule 2). */
  :: d_step { role[s] == LEADS && proposed[s] != 0 && isCurrent[s] && asked == 0 ->
    printf("store %d asks for set %d\n", s, proposed[s]);
    asked = proposed[s] }
#ifdef BREAK_RULE_2
  :: d_step { role[s] == LEADS && proposed[s] != 0 ->
    printf("store %d thinks that its change failed\n", s);
    proposed[s] = 0 }
#endif

  /* It sees the record: a newer one of its epoch, the last one of its epoch, or a later epoch. */
  :: d_step { role[s] != FOLLOWS && epoch == promise[s] && !isCurrent[s] ->
    printf("store %d sees set %d, target %d\n", s, inSync, target);
    known[s] = inSync;
    proposed[s] = 0;
    isCurrent[s] = true;
    sentTo[epoch] = sentTo[epoch] | inSync | target }
  :: d_step { unseen[s] != 0 ->
    printf("store %d sees set %d late\n", s, unseen[s]);
    REACHED(CHANGED_UNSEEN, true);
    known[s] = unseen[s];
    proposed[s] = 0;
    unseen[s] = 0 }
  :: d_step { role[s] != FOLLOWS && epoch > promise[s] ->
    printf("store %d steps down\n", s);
    stepDown(s) }

  PROMOTE(1) PROMOTE(2) PROMOTE(3) PROMOTE(4) PROMOTE(5) PROMOTE(6) PROMOTE(7)
#if STORES == 3
  PROMOTE(8) PROMOTE(9) PROMOTE(10) PROMOTE(11) PROMOTE(12) PROMOTE(13) PROMOTE(14) PROMOTE(15)
#endif

  /* R1. Reads that arrive before their round begins are safer: the round begins at once. */
  :: d_step { readAt == 0 && role[s] == LEADS && MAY_READ(s) && IS_READ_FOLLOWED_UP(s) ->
    printf("a read arrives at store %d\n", s);
    readAt = s + 1;
    unconfirmed = MUST_CONFIRM(s);
    isReadStale = (committed[s] < historyLength);
    REACHED(READ_IN_DANGER, isReadStale);
    assert(unconfirmed != 0 || !isReadStale);
    if
    :: unconfirmed == 0 -> readAt = 0; isReadStale = false
    :: else
    fi }
  CONFIRM
  :: d_step { readAt == s + 1 && epoch == promise[s] ->
    printf("store %d finds itself in the record\n", s);
    REACHED(READ_BY_RECORD, true);
    assert(!isReadStale);
#ifndef BREAK_R1_RECORD
    readAt = 0;
#endif
    unconfirmed = 0 }
#ifdef BREAK_R1_ROUND
  :: d_step { readAt == s + 1 && !isReadStale && committed[s] < historyLength ->
    printf("another read joins at store %d\n", s);
    isReadStale = true;
    assert(unconfirmed != 0) }
#endif
#ifdef BREAK_R1_RECORD
  :: d_step { readAt == s + 1 && unconfirmed == 0 && committed[s] < historyLength ->
    printf("another read is served at store %d\n", s);
    assert(false) }
#endif

  /* A store deletes a replica that the record lists nowhere, and makes the one that it lists. */
  :: d_step { replica[s] != 0 && !HAS(LISTED, replica[s]) ->
    printf("store %d deletes replica %d\n", s, replica[s]);
    REACHED(DELETED, true);
    restart(s);
    replica[s] = 0;
    log[s] = 0;
    disk[s] = 0;
    promise[s] = 0;
    promiseOnDisk[s] = 0 }
  :: d_step { replica[s] == 0 && spareHome == s && HAS(target, SPARE) ->
    printf("store %d makes replica %d\n", s, SPARE);
    replica[s] = SPARE }
#ifdef BREAK_REPLICA_IDS
  :: d_step { replica[s] == 0 && HAS(target, s + 1) ->
    printf("store %d makes replica %d again\n", s, s + 1);
    replica[s] = s + 1 }
#endif
  od
}

/* T4. A store that is in sync comes back as who it is, any other under a new id. */
#define REMOVE(r) \
  :: d_step { retargets < RETARGETS && HAS(target, r) && (target & ~ONE(r)) != 0 -> \
    printf("retarget: without replica %d\n", r); \
    target = target & ~ONE(r); \
    retargets++; \
    REACHED(RETARGETED, true); \
    revisionMoved() }
#ifdef BREAK_REPLICA_IDS
#define ADD(r) \
  :: d_step { retargets < RETARGETS && !HAS(target, r) -> \
    printf("retarget: with replica %d\n", r); \
    target = target | ONE(r); \
    retargets++; \
    revisionMoved() }
#else
#define ADD(r) \
  :: d_step { retargets < RETARGETS && !HAS(target, r) \
    && (HAS(inSync, r) || spareHome == STORES) -> \
    if \
    :: HAS(inSync, r) -> target = target | ONE(r) \
    :: else -> spareHome = (r) - 1; target = target | ONE(SPARE) \
    fi; \
    printf("retarget: with replica %d's store, target %d\n", r, target); \
    retargets++; \
    revisionMoved() }
#endif

proctype Coordinator() {
  byte i;
end:
  do
  :: d_step { asked != 0 ->
    if
    :: askedBy == 0 ->
      printf("the record's set becomes %d\n", asked);
      REACHED(EXPANDED, SIZE(asked) > SIZE(inSync));
      REACHED(REBUILT, HAS(asked, SPARE) && !HAS(inSync, SPARE));
      REACHED(SHRUNK, SIZE(asked) < SIZE(inSync));
      REACHED(CHANGED_LATE, !IS_LED(epoch));
      inSync = asked;
      revisionMoved()
    :: else ->
      printf("the record's epoch becomes %d, led by replica %d, set %d\n", epoch + 1, askedBy,
        asked);
      REACHED(PROMOTED, leader != askedBy);
      REACHED(PROMOTED_LATE, !isAskerRunning);
      i = HOME(leader);
      if
      :: replica[i] == leader && role[i] != FOLLOWS && promise[i] == epoch &&
          known[i] != inSync -> unseen[i] = inSync
      :: else
      fi;
      epoch++;
      leader = askedBy;
      isLeaderRunning = isAskerRunning;
      inSync = asked;
      sentBy[epoch] = leader;
      sentTo[epoch] = inSync | target;
      revisionMoved();
      if
      :: isLeaderRunning ->
        i = HOME(leader);
        won[i] = epoch;
        known[i] = inSync;
        isCurrent[i] = true
      :: else
      fi;
      i = 0
    fi;
    checkInSync() }
  REMOVE(1) REMOVE(2)
  ADD(1) ADD(2)
#if STORES == 3
  REMOVE(3)
  ADD(3)
#endif
  od
}

/* The first store has just been given the first epoch, of a partition that holds nothing; by
   symmetry it stands for any. It may be alone: then a partition waits for a learner (rule 10). */
init {
  byte i;
  d_step {
    do
    :: i < STORES -> replica[i] = i + 1; i++
    :: else -> break
    od;
    i = 0;
    won[0] = 1;
    isCurrent[0] = true;
    sentBy[1] = 1;
    sentTo[1] = EVERYBODY
  }
  if
  :: inSync = 1
  :: inSync = EVERYBODY
#if STORES == 3
  :: inSync = 3
#endif
  fi;
  atomic {
    known[0] = inSync;
    run Coordinator();
    i = 0;
    do
    :: i < STORES -> run Store(i); i++
    :: else -> break
    od
  }
}
