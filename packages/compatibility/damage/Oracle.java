import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.zookeeper.Version;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.data.StatPersisted;
import org.apache.zookeeper.server.DataNode;
import org.apache.zookeeper.server.DataTree;
import org.apache.zookeeper.server.ZKDatabase;
import org.apache.zookeeper.server.persistence.FileTxnSnapLog;
import org.apache.zookeeper.server.quorum.QuorumPeer;

/**
 * Starts on a data directory with a server's own classes, up to where it would begin to serve, and says what came of it.
 * Reads one request per line, whose words are separated by tabs, and answers with one line:
 *
 * <pre>
 *   standalone LOGS SNAPSHOTS   ->  loaded ZXID NODES HASH STRAYS | refused WHY
 *   member LOGS SNAPSHOTS       ->  the same, as the member of an ensemble
 *   history LOGS SNAPSHOTS      ->  ZXID=HASH=DIGEST ..., the state after each txn; 3.4 and 3.5 have no digests
 *   save LOGS SNAPSHOTS         ->  saved, the loaded state as a snapshot of this release
 *   version                     ->  3.8.0
 * </pre>
 *
 * HASH covers every node's path, data, ACL and stat. STRAYS are nodes that the clean-up of dead sessions deletes although
 * they do not belong to one.
 */
public class Oracle {
    public static void main(String[] args) throws Exception {
        PrintStream answers = System.out;
        System.setOut(System.err);
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            String answer;
            try {
                String[] words = line.split("\t");
                if (words[0].equals("version")) {
                    answers.println(Version.getVersion());
                    answers.flush();
                    continue;
                }
                answer = answer(words[0], new File(words[1]), new File(words[2]));
            } catch (Throwable problem) {
                Throwable cause = problem;
                while (cause instanceof InvocationTargetException || (cause.getCause() != null && cause.getClass() == RuntimeException.class)) {
                    cause = cause.getCause();
                }
                answer = "refused\t" + String.valueOf(cause).replaceAll("\\s+", " ");
            }
            answers.println(answer);
            answers.flush();
        }
    }

    static String answer(String request, File logs, File snapshots) throws Exception {
        FileTxnSnapLog files = new FileTxnSnapLog(logs, snapshots);
        if (request.equals("history")) {
            return history(files);
        }
        ZKDatabase database = new ZKDatabase(files);
        try {
            if (request.equals("member")) {
                startMember(files, database);
            } else {
                database.loadDataBase();
            }
            if (request.equals("save")) {
                save(files, database);
                return "saved";
            }
            return state(database);
        } finally {
            files.close();
        }
    }

    /** What a member of an ensemble does with its files before it looks for the others. */
    static void startMember(FileTxnSnapLog files, ZKDatabase database) throws Exception {
        Constructor<QuorumPeer> constructor = QuorumPeer.class.getDeclaredConstructor();
        constructor.setAccessible(true);
        QuorumPeer peer = constructor.newInstance();
        peer.setTxnFactory(files);
        peer.setZKDatabase(database);
        Method load = QuorumPeer.class.getDeclaredMethod("loadDataBase");
        load.setAccessible(true);
        load.invoke(peer);
    }

    static String state(ZKDatabase database) throws Exception {
        DataTree tree = database.getDataTree();
        long zxid = tree.lastProcessedZxid;
        String loaded = "loaded\t" + Long.toHexString(zxid) + "\t" + tree.getNodeCount() + "\t" + Long.toHexString(hash(tree));
        // What ZooKeeperServer.loadData does next.
        TreeMap<String, Long> owners = new TreeMap<>();
        collect(tree, "", (path, node) -> owners.put(path, node.stat.getEphemeralOwner()));
        Set<Long> dead = new HashSet<>();
        for (Long session : database.getSessions()) {
            if (database.getSessionWithTimeOuts().get(session) == null) {
                dead.add(session);
            }
        }
        for (Long session : dead) {
            database.killSession(session, zxid);
        }
        int strays = 0;
        for (String path : owners.keySet()) {
            if (tree.getNode(path) == null && !dead.contains(owners.get(path))) {
                strays++;
            }
        }
        return loaded + "\t" + strays;
    }

    static String history(FileTxnSnapLog files) throws Exception {
        DataTree tree = new DataTree();
        List<String> states = new ArrayList<>();
        FileTxnSnapLog.PlayBackListener listener = (FileTxnSnapLog.PlayBackListener) Proxy.newProxyInstance(
            Oracle.class.getClassLoader(), new Class<?>[] {FileTxnSnapLog.PlayBackListener.class}, (proxy, method, args) -> {
                states.add(historyEntry(tree));
                return null;
            });
        files.restore(tree, new ConcurrentHashMap<Long, Integer>(), listener);
        if (states.isEmpty()) {
            states.add(historyEntry(tree));
        }
        return String.join("\t", states);
    }

    static String historyEntry(DataTree tree) throws Exception {
        String digest = "";
        try {
            digest = String.valueOf(DataTree.class.getMethod("getTreeDigest").invoke(tree));
        } catch (NoSuchMethodException before36) {
            // It has none.
        }
        return Long.toHexString(tree.lastProcessedZxid) + "=" + Long.toHexString(hash(tree)) + "=" + digest;
    }

    /** Releases differ in the number of parameters. */
    static void save(FileTxnSnapLog files, ZKDatabase database) throws Exception {
        for (Method method : FileTxnSnapLog.class.getMethods()) {
            if (method.getName().equals("save")) {
                List<Object> arguments = new ArrayList<>(List.of(database.getDataTree(), database.getSessionWithTimeOuts()));
                if (method.getParameterCount() == 3) {
                    arguments.add(Boolean.FALSE);
                }
                method.invoke(files, arguments.toArray());
            }
        }
    }

    interface Visitor {
        void visit(String path, DataNode node) throws Exception;
    }

    static void collect(DataTree tree, String path, Visitor visitor) throws Exception {
        DataNode node = tree.getNode(path);
        if (node == null) {
            return;
        }
        visitor.visit(path, node);
        Set<String> children = node.getChildren();
        if (children != null) {
            for (String child : new ArrayList<>(children)) {
                collect(tree, path + "/" + child, visitor);
            }
        }
    }

    /** A sum, as the order of children is any. */
    static long hash(DataTree tree) throws Exception {
        long[] sum = {0};
        collect(tree, "", (path, node) -> {
            byte[] data = tree.getData(path, new Stat(), null);
            StatPersisted stat = node.stat;
            String acl;
            try {
                acl = String.valueOf(tree.getACL(path, new Stat()));
            } catch (RuntimeException dangling) {
                acl = "dangling";
            }
            String rest = path + "\n" + (data == null) + stat.getCzxid() + "," + stat.getMzxid() + "," + stat.getPzxid() + ","
                + stat.getCtime() + "," + stat.getMtime() + "," + stat.getVersion() + "," + stat.getCversion() + ","
                + stat.getAversion() + "," + stat.getEphemeralOwner() + "," + acl;
            sum[0] += mix(mix(0xcbf29ce484222325L, rest.getBytes(StandardCharsets.UTF_8)), data == null ? new byte[0] : data);
        });
        return sum[0];
    }

    static long mix(long hash, byte[] bytes) {
        for (byte value : bytes) {
            hash = (hash ^ (value & 0xff)) * 0x100000001b3L;
        }
        return hash * 31 + bytes.length;
    }
}
