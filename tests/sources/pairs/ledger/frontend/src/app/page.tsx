export default function Page() {
  return <h1>{process.env.NEXT_PUBLIC_TITLE}</h1>;
}
