export const revalidate = 1;
export default function Page() {
  return <p>made at {Date.now()}</p>;
}
