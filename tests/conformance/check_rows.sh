#!/bin/sh
# Checks that every row of rows.csv has its tests, and that they run and pass.
#
#   check_rows.sh PROGRAM rows.csv COUNT_OF_BODIES COUNT_OF_METHODS [without-net] [without-log]
#
# Runs the whole program; its result file, conformance.xml in the working directory, is the witness: a test that is missing,
# that did not run, was skipped, or failed, fails its row. `Bodies/…/*` stands for every body (fork, spawn, forkserver, thread),
# `Methods/…/*` for every start method: tests of processes themselves have no body in a thread.
# without-net, without-log: this build has no OpenSSL, or no spdlog, so the rows of the listener's and manager's, or the logging
# tests are not looked at.
set -eu
program=$1
rows=$2
bodies=$3
methods=$4
shift 4
without=" $* "

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Rows that any copy of the list must have: the reference counts its own rows.
for expected in LCK:7 SEM:5 CND:5 EVT:4 BAR:6 QUE:19 _TestLock:8 _TestSemaphore:3 _TestCondition:7 _TestEvent:2 _TestBarrier:11 _TestQueue:10 TestSimpleQueue:4 CON:20 _TestConnection:9 _TestPoll:4 _TestPicklingConnections:2 _TestListener:4 _TestListenerClient:3 OtherTest:2 ChallengeResponseTest:1 TestIgnoreEINTR:1 TestWait:7 CTX:22 PRC:17 LOG:6 _TestProcess:27 _TestSubclassingProcess:3 _TestFinalize:2 _TestLogging:3 _TestPollEintr:1 TestInvalidHandle:1 TestStdinBadfiledescriptor:3 TestNoForkBomb:1 TestForkAwareThreadLock:1 TestCloseFds:1 TestStartMethod:10 TestResourceTracker:13 TestNamedResource:1 _TestAtExit:1 _TestSpawnedSysPath:1 MiscTestCase:3 ForkInThreads:1 SHV:9 SHM:13 _TestValue:4 _TestArray:5 _TestSharedCTypes:3 _TestHeap:1 _TestSharedMemory:17 TestSharedMemoryNames:1 POL:20 FUT:15 _TestPool:25 _TestPoolWorkerErrors:2 _TestPoolWorkerLifetime:4 TestInitializers:2 TestPoolNotLeakOnFailure:1 ExecutorTest:20 ProcessPoolExecutorTest:25 ExecutorShutdownTest:7 ProcessPoolShutdownTest:6 WaitTests:8 AsCompletedTests:5 FutureTests:21 ExecutorDeadlockTest:16 ThreadPoolExecutorTest:1 InitializerMixin:1 FailingInitializerMixin:1 FailingInitializerResourcesTest:2 MGR:21 _TestMyManager:3 _TestRemoteManager:1 _TestManagerRestart:1 TestSyncManagerTypes:18; do
  group=${expected%:*}
  want=${expected#*:}
  have=$(cut -d, -f1 "$rows" | grep -E "^$group[-.]" | sort -u | wc -l)
  if [ "$have" -ne "$want" ]; then
    echo "rows.csv: $group has $have rows, expected $want" >&2
    exit 1
  fi
done

status=0
rm -f conformance.xml
"$program" --gtest_output=xml:conformance.xml > "$work/log" 2>&1 || status=$?

# One line a test case that ran to its end: SUITE.NAME verdict
[ -f conformance.xml ] || { cat "$work/log" >&2; exit 1; }
tr "\n" " " < conformance.xml | sed 's/<testcase /\n<testcase /g' | grep '^<testcase ' | while read -r line; do
  name=$(printf '%s' "$line" | sed 's/^<testcase name="\([^"]*\)".*/\1/')
  suite=$(printf '%s' "$line" | sed 's/.* classname="\([^"]*\)".*/\1/')
  case $line in
    *'<failure'*) verdict=failed ;;
    *'status="run"'*'result="completed"'*) verdict=passed ;;
    *) verdict=not-run ;;
  esac
  echo "$suite.$name $verdict"
done > "$work/verdicts"

bad=0
tail -n +2 "$rows" | while IFS=, read -r row mark test; do
  case $mark in P | A) ;; *)
    echo "$row: the mark must be P or A, not '$mark'" >&2
    echo bad >> "$work/bad"
    ;;
  esac
  case $test in
    'deferred: '?*) continue ;;
    *ListenerConformance* | *ManagerConformance* | *ManagedConformance* | *ManagedPoolConformance* | *DirectConformance*) case $without in *' without-net '*) continue ;; esac ;;
    *LoggingConformance*) case $without in *' without-log '*) continue ;; esac ;;
  esac
  case $test in
    */\*)
      prefix=${test%\*}
      case $test in
        Methods/*) want=$methods ;;
        *) want=$bodies ;;
      esac
      have=$(awk -v p="$prefix" 'index($1, p) == 1 && $2 == "passed"' "$work/verdicts" | wc -l)
      ;;
    *)
      want=1
      have=$(awk -v p="$test" '$1 == p && $2 == "passed"' "$work/verdicts" | wc -l)
      ;;
  esac
  if [ "$have" -ne "$want" ]; then
    echo "$row: $test: $have of $want passed" >&2
    echo bad >> "$work/bad"
  fi
done
[ ! -f "$work/bad" ] || bad=$(wc -l < "$work/bad")

total=$(cut -d, -f1 "$rows" | tail -n +2 | sort -u | wc -l)
deferred=$(grep ',deferred: ' "$rows" | cut -d, -f1 | sort -u | wc -l)
echo "conformance: $total rows, $deferred deferred, $bad entries of the others without a passing test"
if [ "$bad" -ne 0 ] || [ "$status" -ne 0 ]; then
  grep -vE '^\[ +(RUN|OK) ' "$work/log" >&2 || true
  exit 1
fi
