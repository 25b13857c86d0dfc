export default function Home({ number }) {
  return <main>{number}</main>;
}

export const getServerSideProps = async () => ({ props: { number: new Intl.NumberFormat("de").format(1234.5) } });
