export default function Page() {
  return <h1>Atlas</h1>;
}
