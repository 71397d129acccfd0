/** Whoever read stdout has had enough (`zk-backyp log ... | head`): the command ends there, and nothing is wrong. */
export class ReaderGone extends Error {
  override readonly name: string = "ReaderGone";
}
