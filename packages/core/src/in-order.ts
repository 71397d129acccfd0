/** What {@link inOrder} does. */
interface Work<Item, Result> {
  /** How many may be under way at once. */
  readonly atOnce: number;
  /** What an item takes of `maxWeight` while it is under way. One that is over it is done alone. */
  weightOf(item: Item): number;
  readonly maxWeight: number;
  work(item: Item): Promise<Result>;
}

/** Works on several items at once, and yields the results in the items' order. Takes no item before there is room. */
export async function* inOrder<Item, Result>(
  items: AsyncIterable<Item> | Iterable<Item>,
  { atOnce, weightOf, maxWeight, work }: Work<Item, Result>,
): AsyncGenerator<Result, void, void> {
  const underWay: { readonly result: Promise<Result>; readonly weight: number }[] = [];
  let total = 0;
  const isFull = (weight: number): boolean => underWay.length >= atOnce || total + weight > maxWeight;
  for await (const item of items) {
    const weight = weightOf(item);
    for (let first = underWay[0]; first !== undefined && isFull(weight); first = underWay[0]) {
      yield await first.result;
      underWay.shift();
      total -= first.weight;
    }
    const result = work(item);
    // Told when its turn comes, if it does.
    result.catch(() => {});
    underWay.push({ result, weight });
    total += weight;
  }
  for (const { result } of underWay) yield await result;
}
