export default function Page() {
  return <h1>Relay</h1>;
}
