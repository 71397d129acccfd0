# zk-backyp's guard: starts a ZooKeeper node that was stopped for a backup when the backup's process cannot do it.
#
#   sh -c TEXT NAME JOURNAL RUN SECONDS STAY_STOPPED_FILE START [ARGUMENT...]
#
# It starts the node when its stdin, whose other end the backup's process alone holds, ends without the word "served",
# and when SECONDS have passed. Not when JOURNAL is gone or another run's (the start is not owed any more), nor while
# STAY_STOPPED_FILE (may be empty: none) exists. JOURNAL.rescued is made before the node is started, JOURNAL.started when
# the guard has done all it can. Needs a POSIX shell and sleep; date and sync only where they exist.

journal=$1
run=$2
seconds=$3
stay_stopped=$4
shift 4

# Caught, not ignored: what is ignored stays so in whatever is started, and a java would never again end on a TERM. In
# between they are ignored, so that no process of the guard has a moment in which a TERM to the whole group ends it.
catch() { trap 'interrupted=1' HUP INT QUIT TERM PIPE; }
ignore() { trap '' HUP INT QUIT TERM PIPE; }

# Written for the log's sake alone, so that it stays small however long a start keeps failing.
say() {
  said=$((said + 1))
  if [ "$said" -le 200 ]; then printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ 2>/dev/null)" "$1" >&2; fi
}

# Created, never opened: a link of that name leads nowhere.
mark() {
  set -C
  printf '%s\n%s\n' "$run" "$why" 2>/dev/null >"$journal.$1"
  set +C
}

owed() {
  if [ -n "$stay_stopped" ] && [ -e "$stay_stopped" ]; then return 1; fi
  is_unpaid
}

is_unpaid() {
  if [ ! -e "$journal" ]; then return 1; fi
  text=
  IFS= read -r text 2>/dev/null <"$journal"
  case $text in
    *'"run":"'"$run"'"'*) return 0 ;;
    *'"run":"'*) return 1 ;;
  esac
  # It is there and cannot be read.
  return 0
}

# Asks for the start until it was accepted, and then some times more: a stop that is still under way, or a supervisor
# that is restarted, can swallow a start that was accepted.
rescue() {
  if ! owed; then return; fi
  # A shell that cannot fork ends. It can still become the start.
  over=
  trap 'if [ -z "$over" ] && owed; then exec "$@" </dev/null >&2; fi' EXIT
  mark rescued
  printf 'starting\n' 2>/dev/null
  say "$why: starting the node: $*"
  accepted=0
  pause=1
  while owed; do
    if [ "$said" -lt 200 ]; then "$@" </dev/null >&2; else "$@" </dev/null >/dev/null 2>&1; fi
    code=$?
    if [ "$code" -eq 0 ]; then
      if [ "$accepted" -eq 0 ]; then say "the start was accepted" && pause=1; fi
      accepted=$((accepted + 1))
      if [ "$accepted" -ge 6 ]; then break; fi
    else
      say "the start failed with exit code $code"
    fi
    # Not in the foreground, where it would hold up the signal that dismisses the timer.
    sleep "$pause" >/dev/null 2>&1 &
    sleeper=$!
    wait "$sleeper"
    sleeper=
    if [ "$pause" -lt 10 ]; then pause=$((pause * 2)); fi
    if [ "$pause" -gt 10 ]; then pause=10; fi
  done
  over=1
}

# Done only when the deadline is over too: until then a stop that is still under way can outlast every start.
conclude() {
  if owed; then
    mark started
    say "the node was started"
    sync "$journal.rescued" "$journal.started" 2>/dev/null
  else
    say "nothing is owed any more"
  fi
}

# Lives on when the main process is killed.
timer() {
  (exec sleep "$seconds") >/dev/null 2>&1 &
  sleeper=$!
  trap 'if [ -n "$sleeper" ]; then kill -KILL "$sleeper"; fi; over=1; exit 0' USR1
  catch
  printf 'armed\n'
  # wait ends early at every signal.
  while kill -0 "$sleeper" 2>/dev/null; do wait "$sleeper"; done
  sleeper=
  why='the deadline has passed'
  if owed; then
    rescue "$@"
    conclude
  fi
  exit 0
}

said=0
over=
if ! command -v sleep >/dev/null; then
  printf 'there is no sleep in %s\n' "$PATH" >&2
  exit 127
fi
ignore
timer "$@" &
timer=$!
catch
printf 'timer %s\n' "$timer"

while :; do
  interrupted=
  word=
  if IFS= read -r word; then
    if [ "$word" = served ]; then
      kill -USR1 "$timer" 2>/dev/null
      exit 0
    fi
  elif [ -z "$interrupted" ]; then
    break
  fi
done

why='the process that stopped the node is gone'
rescued=
if owed && [ ! -e "$journal.started" ]; then
  rescue "$@"
  rescued=1
fi
# What is left to do is the timer's, which ends at once when somebody pays.
while is_unpaid && kill -0 "$timer" 2>/dev/null; do sleep 5 >/dev/null; done
if kill -0 "$timer" 2>/dev/null; then
  kill -USR1 "$timer"
elif [ -n "$rescued" ] && [ ! -e "$journal.started" ]; then
  conclude
fi
