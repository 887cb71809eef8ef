import helper

helper.page("Files", """
<p>Every file here is a page of its own:</p>
<ul>
<li><a href="report">report.py</a>, a script that starts another program
<li><a href="shop/cart/7">shop/cart.py</a>, a WSGI app with the rest of the path
</ul>
""")
