import java.io.File;
import java.util.HashMap;
import java.util.Map;
import org.apache.zookeeper.server.DataTree;
import org.apache.zookeeper.server.persistence.FileSnap;
import org.apache.zookeeper.server.persistence.FileTxnSnapLog;

/** LoadSnapshot snapshot FILE | replay DIRECTORY: loads it as a server does at its start, and prints nodes and digest. */
public class LoadSnapshot {
    public static void main(String[] args) throws Exception {
        DataTree tree = new DataTree();
        Map<Long, Integer> sessions = new HashMap<>();
        File file = new File(args[1]);
        if (args[0].equals("snapshot")) {
            new FileSnap(file.getParentFile()).deserialize(tree, sessions);
        } else {
            FileTxnSnapLog log = new FileTxnSnapLog(file, file);
            log.restore(tree, sessions, (header, txn, digest) -> { });
            log.close();
        }
        // Servers count the root twice.
        System.out.printf("%d %d%n", tree.getNodeCount() - 1, tree.getTreeDigest());
    }
}
