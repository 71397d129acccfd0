# shellcheck shell=bash
# What jobs that stop, restore or ask the ZooKeeper server of their VM have in common. To be sourced by bash scripts that
# run as root with `set -euo pipefail`. Everything is read from the rendered job zookeeper, everything waits for a bounded
# time, and messages for people go to stderr: it is all that an operator sees.

readonly MEMBER_ZOO_CFG=/var/vcap/jobs/zookeeper/config/zoo.cfg
readonly MEMBER_PID_FILE=/var/vcap/sys/run/zookeeper/zookeeper.pid
readonly MEMBER_MONIT=/var/vcap/bosh/bin/monit
readonly MEMBER_SERVICE=zookeeper
readonly MEMBER_CTL=/var/vcap/jobs/zookeeper/bin/zookeeper_ctl
readonly MEMBER_ASK=/var/vcap/jobs/zookeeper/bin/ask
# The command of the job zk-backyp, where that is on this VM: with its configuration, as vcap.
readonly MEMBER_BACKYP=/var/vcap/jobs/zk-backyp/bin/zk-backyp
readonly MEMBER_NODE=/var/vcap/packages/node-24/bin/node
# For how many seconds at most backups are held off: what dies half way does not end them for ever. Jobs add what they wait.
MEMBER_HOLD_SECONDS=3600
# What monit looks after for that job; and which of it member_hold_for_restore has ended, until member_release.
readonly MEMBER_BACKUP_SERVICES=/var/vcap/jobs/zk-backyp/monit
readonly MEMBER_ENDED=/var/vcap/data/zk-backyp/ended-for-restore
# By this the helper of that job, and its guard, know that they owe ZooKeeper a start.
readonly MEMBER_OWED=/var/vcap/store/zk-backyp-helper/stop.json
# Until then a deploy has held the daemon.
readonly MEMBER_PAUSE_UNTIL=/var/vcap/sys/run/zk-backyp/pause-until

member_say() {
  printf '%s: %s\n' "${0#/var/vcap/jobs/}" "$*" >&2
}

# Ends the script: 1 and the reason.
member_fail() {
  member_say "$*"
  exit 1
}

# Sets MEMBER_DATA_DIR, MEMBER_DATA_LOG_DIR, MEMBER_SERVERS and MEMBER_ID from the configuration of the server.
member_load() {
  [[ -r $MEMBER_ZOO_CFG ]] || member_fail "there is no $MEMBER_ZOO_CFG: this job belongs on instances with the job zookeeper"
  MEMBER_DATA_DIR=$(member_setting dataDir)
  MEMBER_DATA_LOG_DIR=$(member_setting dataLogDir)
  [[ $MEMBER_DATA_DIR == /* ]] || member_fail "$MEMBER_ZOO_CFG has no dataDir"
  : "${MEMBER_DATA_LOG_DIR:=$MEMBER_DATA_DIR}"
  MEMBER_ID=$(cat "${MEMBER_ZOO_CFG%/*}/myid" 2>/dev/null || true)
  # A line for every server of the ensemble: id, host, election port, role. None where the server is on its own.
  MEMBER_SERVERS=$(sed -nE 's/^server\.([0-9]+)=(\[[^]]+\]|[^:]+):[0-9]+:([0-9]+)(:(participant|observer))?(;.*)?$/\1 \2 \3 \5/p' \
    "$MEMBER_ZOO_CFG" | tr -d '[]' | awk '{ print $1, $2, $3, ($4 == "observer" ? $4 : "participant") }')
}

# The value of a setting of zoo.cfg, or nothing.
member_setting() {
  sed -nE "s/^$1=(.*)\$/\\1/p" "$MEMBER_ZOO_CFG" | tail -n 1
}

# Whether there are other servers in the ensemble.
member_has_peers() {
  (($(wc -l <<<"$MEMBER_SERVERS") > 1))
}

# Runs zk-backyp as vcap, with nothing of root's environment: as the job zk-backyp does where it is, within its memory.
member_backyp() {
  local -a program=("$MEMBER_BACKYP")
  if [[ ! -x $MEMBER_BACKYP ]]; then
    program=(setpriv --reuid vcap --regid vcap --init-groups -- env HOME=/home/vcap /var/vcap/packages/zk-backyp/bin/zk-backyp)
  fi
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${program[@]}" "$@"
}

# Whether the job zk-backyp has the process $1 on this VM. On some it has none, and what listens on its port is not its own.
member_has_service() {
  grep -qsFx "check process $1" "$MEMBER_BACKUP_SERVICES"
}

# Has the daemon of the job zk-backyp begin no run until member_release, and waits at most $1 seconds until what is under
# way has ended. More arguments are passed on. 0 also where there is no daemon; else the exit code of `zk-backyp hold`.
member_hold() {
  member_has_service zk-backyp || return 0
  "$MEMBER_BACKYP" hold --for "$MEMBER_HOLD_SECONDS" --timeout "$1" "${@:2}" >&2
}

# The same for a restore, which waits for no backup. Where the daemon cannot be held, or ZooKeeper does not come back after
# a backup, both processes of the job are ended, and owe no start any more: it would come while the data is replaced.
member_hold_for_restore() {
  local service code=0
  if [[ ! -e $MEMBER_ENDED ]]; then
    member_hold 60 --abort || code=$?
    # The helper looks for a while whether what it has started stays up.
    for _ in {1..30}; do
      if ((code == 0)) && [[ ! -e $MEMBER_OWED ]]; then return 0; fi
      ((code == 0)) || break
      sleep 1
    done
    member_say "backups cannot be held off (exit code $code): what runs of the job zk-backyp is ended for the time of the restore"
  fi
  while read -r service; do
    if [[ $(member_monit_state "$service") != stopped ]]; then
      printf '%s\n' "$service" >>"$MEMBER_ENDED"
    fi
    member_monit stop "$service" 120 || {
      member_say "monit does not stop $service: see \`monit summary\`"
      return 1
    }
  done < <(sed -n 's/^check process //p' "$MEMBER_BACKUP_SERVICES")
  rm -f "$MEMBER_OWED"
}

# Ends what member_hold or member_hold_for_restore began; nothing if nothing is held.
member_release() {
  local service
  member_has_service zk-backyp || return 0
  if [[ -e $MEMBER_ENDED ]]; then
    while read -r service; do
      member_monit start "$service" 120 || return 1
    done <"$MEMBER_ENDED"
    rm -f "$MEMBER_ENDED"
  elif member_has_service zk-backyp-helper && (($(cat "$MEMBER_PAUSE_UNTIL" 2>/dev/null || echo 0) > EPOCHSECONDS)); then
    member_say "a deploy was here just now, and holds cold backups off: they begin again within" \
      "$((MEMBER_HOLD_SECONDS / 60)) minutes, or with \`$MEMBER_BACKYP release\`"
  else
    "$MEMBER_BACKYP" release >&2
  fi
}

# A field of the JSON document on stdin, such as `replaced.epoch`, or nothing where there is none.
member_field() {
  "$MEMBER_NODE" -e '
    const text = require("node:fs").readFileSync(0, "utf8");
    // What should have printed it has failed, and said so.
    if (text === "") process.exit(1);
    let value = JSON.parse(text);
    for (const key of process.argv[1].split(".")) value = value?.[key];
    if (value !== undefined && value !== null) console.log(String(value));
  ' -- "$1"
}

# What monit says of the server, or of service $1: monitored, stopped or pending, or unknown where monit does not answer.
# 5.2.5 calls a server that it is still stopping `not monitored - stop pending`.
member_monit_state() {
  local said service=${1:-$MEMBER_SERVICE}
  said=$("$MEMBER_MONIT" status 2>/dev/null) || said=
  awk -v service="$service" '
    /^[^ ].* \047.*\047 *$/ { inside = ($0 ~ "^Process \047" service "\047 *$") }
    inside && /^  status  / { status = tolower($0) }
    inside && /^  monitoring status  / { sub(/^  monitoring status +/, ""); monitoring = tolower($0) }
    END {
      sub(/ +$/, "", monitoring)
      if (status ~ / pending *$/) print "pending"
      else if (monitoring == "not monitored") print "stopped"
      else if (monitoring != "") print "monitored"
      else print "unknown"
    }' <<<"$said"
}

# Has monit `start` or `stop` ($1) a service within $3 seconds. It is asked again until it has begun: 5.2.5 refuses while
# another action is in progress.
member_monit() {
  local deadline=$((SECONDS + $3)) state
  while :; do
    state=$(member_monit_state "$2")
    case $1:$state in
      start:monitored | stop:stopped) return 0 ;;
      *:pending) ;;
      *) "$MEMBER_MONIT" "$1" "$2" >/dev/null 2>&1 || true ;;
    esac
    ((SECONDS < deadline)) || return 1
    sleep 1
  done
}

# The process in the server's pid file, if it lives, as PID:START, so that another one with its number is not taken for it.
member_process() {
  local pid start
  pid=$(cat "$MEMBER_PID_FILE" 2>/dev/null || true)
  [[ $pid =~ ^[0-9]+$ ]] || return 0
  # After the name, which may hold anything, the 20th field.
  start=$(sed -E 's/^.*\) //' "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 20 || true)
  [[ -z $start ]] || printf '%s:%s\n' "$pid" "$start"
}

# Whether the process that member_process has printed is still there. A dead one that nobody has buried does nothing more.
member_lives() {
  local process=$1 pid start state
  [[ -n $process ]] || return 1
  pid=${process%:*}
  start=$(sed -E 's/^.*\) //' "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 20 || true)
  state=$(sed -E 's/^.*\) //' "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 1 || true)
  [[ $start == "${process#*:}" && $state != Z ]]
}

# Whether anybody on this VM listens on one of the server's ports, whatever address that is bound to.
member_listens() {
  local port
  for port in $(member_ports); do
    if awk -v port="$(printf '%04X' "$port")" '$4 == "0A" && $2 ~ ":" port "$" { found = 1 } END { exit !found }' \
      /proc/net/tcp /proc/net/tcp6 2>/dev/null; then
      return 0
    fi
  done
  return 1
}

# The ports on which clients find the server.
member_ports() {
  member_setting clientPort
  member_setting secureClientPort
}

# Stops the server within $1 seconds. 0 when monit has done with it, its process is gone and nobody listens on its ports.
member_stop() {
  local deadline=$((SECONDS + $1)) process='' state said=0
  while :; do
    # Another one, where monit has restarted it meanwhile. Its pid file may go before it does.
    if ! member_lives "$process"; then process=$(member_process); fi
    state=$(member_monit_state)
    if [[ $state == stopped ]] && ! member_lives "$process" && ! member_listens; then
      return 0
    fi
    if ((SECONDS >= deadline)); then
      member_say "$(member_why_not_stopped "$state" "$process")"
      return 1
    fi
    if ((said == 0)); then
      member_say "stopping ZooKeeper"
      said=1
    fi
    # monit is asked again until it has begun: 5.2.5 refuses while another action is in progress.
    # When it was just about to restart the server it starts it, and takes it for stopped: then it stops nothing any more.
    if [[ $state == stopped ]] && member_lives "$process"; then
      timeout "$((deadline - SECONDS))" "$MEMBER_CTL" stop || true
    elif [[ $state != pending ]]; then
      "$MEMBER_MONIT" stop "$MEMBER_SERVICE" >/dev/null 2>&1 || true
    fi
    sleep 1
  done
}

member_why_not_stopped() {
  local state=$1 process=$2
  if member_lives "$process"; then
    printf 'ZooKeeper has not stopped in time: its process %s still runs (monit: %s)' "${process%:*}" "$state"
  elif member_listens; then
    printf 'somebody still listens on a port of ZooKeeper (%s): is there another server than that of the job?' \
      "$(member_ports | paste -s -d ' ')"
  else
    printf 'monit has not stopped the service %s in time (monit: %s)' "$MEMBER_SERVICE" "$state"
  fi
}

# Whether `bosh stop` has stopped this instance: then `bosh start` starts it, and nobody else.
member_is_kept_stopped() {
  [[ -e /var/vcap/monit/stopped ]]
}

# Whether a restore was cut off while old and new data changed places. No server starts then; the next restore mends it.
member_is_half_replaced() {
  [[ -e $MEMBER_DATA_DIR/version-2/log.7fffffffffffffff || -e $MEMBER_DATA_LOG_DIR/version-2/log.7fffffffffffffff ]]
}

# Has monit start the server, within $1 seconds. 0 when there is a process; that it serves is said by member_wait.
member_start() {
  local deadline=$((SECONDS + $1)) state process
  if member_is_half_replaced; then
    member_say "ZooKeeper is down, and does not start: replacing its data was cut off. Restore again, which mends that"
    return 1
  fi
  while :; do
    state=$(member_monit_state)
    process=$(member_process)
    if [[ $state == monitored && -n $process ]]; then
      return 0
    fi
    if ((SECONDS >= deadline)); then
      # Without its daemon, monit itself runs the start program.
      if [[ $state == unknown && -n $process ]]; then
        member_say "ZooKeeper runs, but monit does not answer: see \`monit summary\`"
        return 0
      fi
      member_say "ZooKeeper is down: monit has not started it in time (monit: $state). See /var/vcap/sys/log/zookeeper, and" \
        "start it with \`monit start $MEMBER_SERVICE\`"
      return 1
    fi
    # A monitored service without a process is one that monit starts by itself, at its next look.
    if [[ $state != pending && $state != monitored ]]; then
      "$MEMBER_MONIT" start "$MEMBER_SERVICE" >/dev/null 2>&1 || true
    fi
    sleep 1
  done
}

# The role in an answer to `srvr`: leader, follower, observer or standalone. Nothing, and 1, where it does not serve.
member_role() {
  sed -nE 's/^Mode: (leader|follower|observer|standalone)\r?$/\1/p' | grep .
}

# Waits at most $1 seconds until the server serves, and prints its role.
member_wait() {
  local deadline=$((SECONDS + $1)) role
  until role=$("$MEMBER_ASK" srvr 2>/dev/null | member_role); do
    ((SECONDS < deadline)) || return 1
    sleep 1
  done
  printf '%s\n' "$role"
}

# The other servers of the ensemble that run: lines of MEMBER_SERVERS. They are found by their election ports, on which
# every one listens for the others whether it serves or not. One that is not reached within 3 seconds counts as down.
member_running_peers() {
  local id host port role
  while read -r id host port role; do
    [[ -n $id && $id != "$MEMBER_ID" ]] || continue
    # All at once: one that is gone takes the whole time.
    # shellcheck disable=SC2016
    (! timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$host" "$port" 2>/dev/null || printf '%s %s %s %s\n' "$id" "$host" "$port" "$role") &
  done <<<"$MEMBER_SERVERS"
  wait
}

# Names servers, from lines of MEMBER_SERVERS on stdin: `1 (10.0.0.1), 2 (10.0.0.2)`.
member_names() {
  awk '{ names = names (NR > 1 ? ", " : "") $1 " (" $2 ")" } END { print names }'
}

# Whether so few voters run that the ensemble cannot serve, whatever this server does.
member_lacks_quorum() {
  local voters running
  voters=$(awk '$4 == "participant"' <<<"$MEMBER_SERVERS" | wc -l)
  running=$({
    member_running_peers
    awk -v own="$MEMBER_ID" '$1 == own' <<<"$MEMBER_SERVERS"
  } | awk '$4 == "participant"' | wc -l)
  ((running * 2 <= voters))
}

# Replaces the data of the stopped server by backup $1; more arguments say where that is. Prints what came of it as JSON.
member_restore() {
  local -a to=(--to "$MEMBER_DATA_DIR")
  if [[ $MEMBER_DATA_LOG_DIR != "$MEMBER_DATA_DIR" ]]; then to+=(--data-log-dir "$MEMBER_DATA_LOG_DIR"); fi
  member_backyp restore "$1" --replace "${to[@]}" --json "${@:2}"
}

# Where the old data is, by what member_restore has printed.
member_kept() {
  "$MEMBER_NODE" -e '
    const { replaced } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    console.log(replaced.kept.map(({ path }) => path).join(" and ") || "no folder: there was none");
  '
}

# The other servers that serve what was before the restore, by $1, the file with what member_restore has printed: lines of
# MEMBER_SERVERS. A restored server is not let in there, and wins the next election.
member_unrestored_peers() {
  local epoch zxid id host port role
  epoch=$(member_field replaced.epoch <"$1")
  while read -r id host port role; do
    [[ $id != "$MEMBER_ID" ]] || continue
    zxid=$("$MEMBER_ASK" srvr "$host" 2>/dev/null | sed -nE 's/^Zxid: (0x[0-9a-f]+).*/\1/p') || true
    if [[ -n $zxid ]] && (((zxid >> 32) < epoch)); then printf '%s %s %s %s\n' "$id" "$host" "$port" "$role"; fi
  done <<<"$MEMBER_SERVERS"
}

# Stops a restored server that does not serve where others serve what was before: they would lose all that they have taken
# since, at some election later. $1 is as above, $2 the seconds for the stop. 1 if there are no such others.
member_keep_out() {
  local others
  others=$(member_unrestored_peers "$1" | member_names)
  [[ -n $others ]] || return 1
  member_stop "$2" || true
  member_say "other servers serve, but not what was restored here: $others. At the next election this one would win, and" \
    "replace their data, with all that was written since. So it is kept stopped: do not deploy, and do not restart this VM." \
    "Either restore again, on all instances. Or let it join them with its old data: put $(member_kept <"$1") in the place of" \
    "version-2, and \`monit start $MEMBER_SERVICE\`"
}

# Proves that the server serves a restored backup: $1 is the file with what member_restore has printed. Says what was found.
# A server that was loading, or is electing, has $2 seconds to answer.
member_prove() {
  local deadline=$((SECONDS + $2)) answer id epoch expected zxid nodes
  id=$(member_field id <"$1")
  epoch=$(member_field replaced.epoch <"$1")
  expected=$(member_field contents.state.nodes <"$1")
  while :; do
    answer=$("$MEMBER_ASK" srvr) || answer=
    zxid=$(sed -nE 's/^Zxid: (0x[0-9a-f]+).*/\1/p' <<<"$answer")
    nodes=$(sed -nE 's/^Node count: ([0-9]+).*/\1/p' <<<"$answer")
    if [[ -n $zxid && -n $nodes ]]; then break; fi
    if ((SECONDS >= deadline)); then
      member_say "ZooKeeper does not serve: $(head -c 200 <<<"${answer:-it does not answer}")"
      return 1
    fi
    sleep 1
  done
  # Each backup has epochs of its own, and an election takes one. Where servers were given different backups, one wins.
  if (((zxid >> 32) < epoch || (zxid >> 32) > epoch + 1000)); then
    member_say "ZooKeeper serves other data than that of $id: it is at $zxid, and what was restored begins at epoch $epoch." \
      "Was another backup restored on other servers? Restore again, the same one on all"
    return 1
  fi
  # A server counts one node more than there are. Before the first transaction the numbers have to be the same: at the
  # begin of an epoch of its own, or after the 1000 empty transactions that come with a restore.
  if (((zxid & 0xffffffff) == 0 || zxid == (epoch << 32) + 1000)); then
    if ((nodes != expected + 1)); then
      member_say "ZooKeeper has $nodes znodes at $zxid, where $id has $((expected + 1)): look at its log"
      return 1
    fi
    member_say "ZooKeeper serves $id: $nodes znodes, as in the backup, at $zxid"
  else
    member_say "ZooKeeper serves $id and what came after it: $nodes znodes at $zxid, and $((expected + 1)) in the backup" \
      "(sessions that have ended take their znodes with them)"
  fi
}
